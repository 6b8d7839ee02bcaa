"""Compile and fit a network; a row of scores an epoch."""

import contextlib
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src import batches, files, health
from src.backend import tf
from src.counts import Counts, accuracy, dice, iou_mean, mcc, precision, recall, specificity
from src.losses import Loss
from src.patches import Patches
from src.resumption import Keeper, Memory

SCORES = {
    "accuracy": accuracy,
    "f1": dice,
    "iou": iou_mean,
    "mcc": mcc,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
}
COLUMNS = ("loss", *SCORES)


class Schedule(NamedTuple):
    """Length and learning rate of a training.

    With `patience` it ends after that many epochs without a better validation score `monitor`, and the best weights are
    restored; without, the last weights stay.
    """

    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup: float  # share of all steps
    cosine: bool
    clip_norm: float | None
    monitor: str
    patience: int | None


class Data(NamedTuple):
    """The patches of a member, and what decides how they are drawn."""

    train: Patches
    validation: Patches | None
    batch_size: int
    seed: int
    replicas: int = 1


class PixelCounts(tf.keras.metrics.Metric):
    """True and false positives and negatives in the FOV at probability 0.5, summed over an epoch.

    The target is (B, H, W, 2): truth and fov. Of several answers the first counts.
    """

    def __init__(self, name: str = "counts") -> None:
        """Counts of nothing yet."""
        super().__init__(name=name, dtype="float32")
        self.counts = self.add_weight("counts", shape=(4,), initializer="zeros", dtype="int64")

    def update_state(self, target: tf.Tensor, probability: tf.Tensor, sample_weight: None = None) -> None:
        """Add a batch."""
        truth, fov = target[..., 0] > 0.5, target[..., 1] > 0.5
        predicted = probability[..., 0] > 0.5
        agree = (truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted)
        numbers = [tf.math.count_nonzero(kind & fov, dtype=tf.int64) for kind in agree]
        self.counts.assign_add(tf.stack(numbers))

    def reset_state(self) -> None:
        """Forget all batches."""
        self.counts.assign(tf.zeros_like(self.counts))

    def result(self) -> dict[str, tf.Tensor]:
        """The four numbers by name."""
        return dict(zip(Counts._fields, tf.unstack(self.counts), strict=True))


class EpochLog(tf.keras.callbacks.Callback):
    """Turns counts into scores and adds a row an epoch to a CSV file."""

    def __init__(self, path: Path, rows: list[list] | None = None) -> None:
        """Begin the table at `path`, or go on from `rows`; epochs are counted on through all members of an ensemble."""
        super().__init__()
        self.path = path
        self.rows = rows or [("epoch", "learning_rate", *COLUMNS, *(f"validation_{name}" for name in COLUMNS))]
        self.epoch = len(self.rows) - 1  # that began last

    def write(self) -> None:
        """Write the table as far as it goes."""
        files.write_rows(self.path, self.rows)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Count the epoch that begins."""
        self.epoch += 1

    def scores(self, name: str, epochs: int) -> list[float]:
        """A validation score in the last rows, one for each of `epochs`."""
        column = self.rows[0].index(f"validation_{name}")
        return [float(row[column]) for row in self.rows[len(self.rows) - epochs :]]

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Put the scores into `logs`, where early stopping reads them, and into the table."""
        row = []
        for prefix in ("", "val_"):
            if f"{prefix}loss" not in logs:  # no image is held out
                row += [None] * len(COLUMNS)
                continue
            counts = Counts(*(int(logs.pop(prefix + name)) for name in Counts._fields))
            logs.update({prefix + name: score(counts) for name, score in SCORES.items()})
            row += [f"{logs[prefix + name]:.6f}" for name in COLUMNS]
        rate = tf.convert_to_tensor(self.model.optimizer.learning_rate)  # one of several where devices mirror it
        self.rows.append((self.epoch, f"{float(rate):.6g}", *row))
        try:
            self.write()
        except OSError as error:  # no reason to lose the weights: the next epoch tries again
            tqdm.write(f"warning: the row of epoch {self.epoch} is not written yet: {error}", file=sys.stderr)


class Progress(tf.keras.callbacks.Callback):
    """A bar over all steps of all epochs, with rate and time left."""

    def __init__(self, schedule: Schedule, begin: int) -> None:
        """A bar that begins now, with `begin` epochs done."""
        super().__init__()
        done, total = (epochs * schedule.steps_per_epoch for epochs in (begin, schedule.epochs))
        self.bar = tqdm(initial=done, total=total, desc="train", unit="step")

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """One step further."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Show the score of validation, or of training where no image is held out."""
        kind, key = ("validation", "val_f1") if "val_f1" in logs else ("train", "f1")
        self.bar.set_postfix_str(f"epoch {epoch + 1}, {kind} F1 {logs[key]:.4f}")

    def close(self) -> None:
        """End the line of the bar."""
        self.bar.close()


def optimizer(schedule: Schedule) -> tf.keras.optimizers.Optimizer:
    """Adam with linear warm-up, then cosine decay to zero (Loshchilov & Hutter, ICLR 2017) or a constant rate."""
    steps = schedule.epochs * schedule.steps_per_epoch
    warmup = round(schedule.warmup * steps)
    rate = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else schedule.learning_rate,
        decay_steps=max(steps - warmup, 1),
        alpha=0.0 if schedule.cosine else 1.0,
        warmup_target=schedule.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return tf.keras.optimizers.Adam(rate, global_clipnorm=schedule.clip_norm, jit_compile=False)


def in_fov(loss: Loss) -> Loss:
    """That loss as Keras calls it: target (B, H, W, 2) of truth and fov, probability (B, H, W, N).

    It is summed over N answers; all networks but residual_w_net have one.
    """

    def fov_loss(target: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        answers = range(probability.shape[-1])
        return sum(loss(target[..., 0], probability[..., answer], target[..., 1]) for answer in answers)

    return fov_loss


def fit(
    model: tf.keras.Model, loss: Loss, schedule: Schedule, data: Data, log: EpochLog, memory: Memory | None
) -> None:
    """Train `model` in place; a row an epoch goes to the `log` as it ends, and a checkpoint to the `memory`, if any.

    Without validation patches, those cells of the row are empty.

    A member that the memory holds goes on from there and ends with the same weights; a finished one has them at once.

    Raises:
        health.BadLossError: a loss or a weight became NaN or infinite.
    """
    model.compile(optimizer=optimizer(schedule), loss=in_fov(loss), metrics=[PixelCounts()])
    if memory is None or not memory.restore_finished(model, data.seed):
        begin = memory.restore(model, data.seed) if memory else 0
        with contextlib.closing(Progress(schedule, begin)) as progress:
            _fit(model, schedule, data, begin, [*_callbacks(schedule, data, log, memory, begin), progress])
    if memory is not None:
        memory.finish(model, data.seed)


def _fit(model: tf.keras.Model, schedule: Schedule, data: Data, begin: int, callbacks: list) -> None:
    """Train from the epoch `begin` (from 0) on."""
    held_out = None
    if data.validation is not None:
        held_out = batches.validation(data.validation, data.batch_size, data.replicas)
    model.fit(
        batches.training(data.train, data.batch_size, data.seed, data.replicas, begin * schedule.steps_per_epoch),
        validation_data=held_out,
        initial_epoch=begin,
        epochs=schedule.epochs,
        steps_per_epoch=schedule.steps_per_epoch,
        callbacks=callbacks,
        verbose=0,
    )


def _callbacks(schedule: Schedule, data: Data, log: EpochLog, memory: Memory | None, begin: int) -> list:
    """What watches a training, in the order in which it is told: scores, health, the best weights, checkpoints."""
    best = None if data.validation is None else health.Best(schedule.monitor, schedule.patience)

    def drawn(epoch: int, step: int) -> np.ndarray:
        before = epoch * schedule.steps_per_epoch + step
        return next(batches.groups(len(data.train.images), data.batch_size, data.seed, before))

    def warn(epoch: int, logs: dict) -> None:
        over = watch.model.stop_training or epoch + 1 == schedule.epochs
        health.warn_if_flat(schedule.monitor, log.scores(schedule.monitor, epoch + 1), over)

    watch = health.Health(drawn, best, before=log.epoch - begin)
    keeper = Keeper(memory, data.seed, log.rows, best) if memory else None
    flat = None if data.validation is None else tf.keras.callbacks.LambdaCallback(on_epoch_end=warn)
    return [callback for callback in (log, watch, best, flat, keeper) if callback]
