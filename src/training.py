"""Compile and fit a network; a row of scores an epoch."""

import math
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from src import files
from src.backend import tf
from src.counts import Counts, accuracy, dice, iou_mean, mcc, precision, recall, specificity
from src.losses import Loss

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
    """Length and learning rate of a training."""

    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup: float  # share of all steps
    cosine: bool
    clip_norm: float | None


class PixelCounts(tf.keras.metrics.Metric):
    """True and false positives and negatives in the FOV at probability 0.5, summed over an epoch.

    The target is (B, H, W, 2): truth and fov.
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
    """Turns counts into scores, adds a row an epoch to a CSV file, stops at a loss that is no number."""

    def __init__(self, path: Path) -> None:
        """Begin the table at `path`; epochs are counted on through all members of an ensemble."""
        super().__init__()
        self.path = path
        self.epoch = 0
        self.rows = [("epoch", "learning_rate", *COLUMNS, *(f"validation_{name}" for name in COLUMNS))]

    def write(self) -> None:
        """Write the table as far as it goes."""
        files.write_rows(self.path, self.rows)

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Count the epoch that begins."""
        self.epoch += 1

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Refuse to go on from a loss that is no number."""
        if not math.isfinite(logs["loss"]):
            raise ValueError(
                f"the loss became {logs['loss']} in epoch {self.epoch}, step {batch + 1}: "
                "lower train.learning_rate or set train.clip_norm"
            )

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Put the scores into `logs`, where early stopping reads them, and into the table."""
        row = []
        for prefix in ("", "val_"):
            counts = Counts(*(int(logs.pop(prefix + name)) for name in Counts._fields))
            logs.update({prefix + name: score(counts) for name, score in SCORES.items()})
            row += [f"{logs[prefix + name]:.6f}" for name in COLUMNS]
        rate = tf.convert_to_tensor(self.model.optimizer.learning_rate)  # one of several where devices mirror it
        self.rows.append((self.epoch, f"{float(rate):.6g}", *row))
        try:
            self.write()
        except OSError as error:  # no reason to lose the weights: the next epoch tries again
            tqdm.write(f"warning: the row of epoch {self.epoch} is not written yet: {error}")


class Progress(tf.keras.callbacks.Callback):
    """A bar over all steps of all epochs, with rate and time left."""

    def __init__(self, schedule: Schedule) -> None:
        """A bar that begins now."""
        super().__init__()
        self.bar = tqdm(total=schedule.epochs * schedule.steps_per_epoch, desc="train", unit="step")

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """One step further."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Show the scores."""
        self.bar.set_postfix_str(f"epoch {epoch + 1}, validation F1 {logs['val_f1']:.4f}")

    def on_train_end(self, logs: dict | None = None) -> None:
        """Close the bar."""
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
    """That loss as Keras calls it: target (B, H, W, 2) of truth and fov, probability (B, H, W, 1)."""

    def fov_loss(target: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        return loss(target[..., 0], probability[..., 0], target[..., 1])

    return fov_loss


def fit(
    model: tf.keras.Model,
    loss: Loss,
    schedule: Schedule,
    train: tf.data.Dataset,
    validation: tf.data.Dataset,
    log: EpochLog,
    monitor: str,
    patience: int | None,
) -> None:
    """Train `model` in place; a row an epoch goes to the `log` as it ends.

    With `patience`, training stops after that many epochs without a better validation score `monitor`, and the
    best weights are restored; without, the last weights stay.

    Raises:
        ValueError: the loss became NaN or infinite.
    """
    model.compile(optimizer=optimizer(schedule), loss=in_fov(loss), metrics=[PixelCounts()])
    callbacks = [log, Progress(schedule)]
    if patience is not None:
        callbacks.append(
            tf.keras.callbacks.EarlyStopping(
                monitor=f"val_{monitor}",
                mode="min" if monitor == "loss" else "max",
                patience=patience,
                restore_best_weights=True,
            )
        )
    model.fit(
        train,
        epochs=schedule.epochs,
        steps_per_epoch=schedule.steps_per_epoch,
        validation_data=validation,
        callbacks=callbacks,
        verbose=0,
    )
