"""Training of a network: optimizer, loss and callbacks."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.models.losses import Loss
from src.models.tensorflow_setup import tf
from src.preprocessing.patch_storage import Patches
from src.training import data_loader, divergence_guard
from src.training.epoch_log import EpochLog, PixelCounts
from src.training.resume import CheckpointCallback, TrainingState


class TrainingSchedule(NamedTuple):
    """Length and learning rate of a training.

    With `patience` it ends after so many epochs without a better validation score `monitor`, and the best weights are
    restored; without, the last weights are kept.
    """

    epochs: int
    steps_per_epoch: int
    learning_rate: float
    warmup_fraction: float  # of all steps
    cosine: bool
    clip_norm: float | None
    monitor: str
    patience: int | None


class TrainingData(NamedTuple):
    """The patches that an ensemble member is trained on, and what decides their order."""

    train: Patches
    validation: Patches | None
    batch_size: int
    seed: int
    replicas: int = 1
    crop_size: int | None = None  # pixels, of random crops of the training patches; None: whole patches


class ProgressBar(tf.keras.callbacks.Callback):
    """Progress bar over all steps of all epochs, with speed and time left."""

    def __init__(self, schedule: TrainingSchedule, first_epoch: int) -> None:
        """Show the bar, with `first_epoch` epochs done."""
        super().__init__()
        done, total = (epochs * schedule.steps_per_epoch for epochs in (first_epoch, schedule.epochs))
        self.bar = tqdm(initial=done, total=total, desc="train", unit="step")

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Advance by one step."""
        self.bar.update()

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Show the F1 score of validation, or of training where no image is held out."""
        subset, key = ("validation", "val_f1") if "val_f1" in logs else ("train", "f1")
        self.bar.set_postfix_str(f"epoch {epoch + 1}, {subset} F1 {logs[key]:.4f}")

    def close(self) -> None:
        """End the line of the bar."""
        self.bar.close()


def optimizer(schedule: TrainingSchedule) -> tf.keras.optimizers.Optimizer:
    """Make Adam with linear warm-up, then cosine decay to zero (Loshchilov & Hutter, ICLR 2017) or a constant rate."""
    steps = schedule.epochs * schedule.steps_per_epoch
    warmup = round(schedule.warmup_fraction * steps)
    rate = tf.keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=0.0 if warmup else schedule.learning_rate,
        decay_steps=max(steps - warmup, 1),
        alpha=0.0 if schedule.cosine else 1.0,
        warmup_target=schedule.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return tf.keras.optimizers.Adam(rate, global_clipnorm=schedule.clip_norm, jit_compile=False)


def fov_weighted_loss(loss: Loss) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Turn a loss into that form which Keras calls: target (B, H, W, 2) of truth and fov, probability (B, H, W, N).

    It is summed over the N outputs; all networks but residual_w_net have one.
    """

    def fov_loss(target: tf.Tensor, probability: tf.Tensor) -> tf.Tensor:
        outputs = range(probability.shape[-1])
        return sum(loss(target[..., 0], probability[..., output], target[..., 1]) for output in outputs)

    return fov_loss


def compile_network(
    model: tf.keras.Model, schedule: TrainingSchedule, loss: Callable, metrics: Sequence[tf.keras.metrics.Metric] = ()
) -> None:
    """Compile a network with its optimizer, whose variables are made at once: else the first step is traced twice."""
    model.compile(optimizer=optimizer(schedule), loss=loss, metrics=list(metrics))
    model.optimizer.build(model.trainable_variables)


def fit(
    model: tf.keras.Model,
    loss: Loss,
    schedule: TrainingSchedule,
    data: TrainingData,
    log: EpochLog,
    training_state: TrainingState | None,
) -> None:
    """Train `model` in place, with a row an epoch in `log` and a checkpoint an epoch in `training_state`, if any.

    A stopped member resumes from its checkpoint and ends with the same weights; a finished one has them at once.
    Without validation patches, the validation scores of a row are empty.

    Raises:
        DivergenceError: a loss or a weight became NaN or infinite.
    """
    compile_network(model, schedule, fov_weighted_loss(loss), [PixelCounts()])
    if training_state is None or not training_state.restore_finished(model, data.seed):
        first_epoch = training_state.restore_unfinished(model, data.seed) if training_state else 0
        with contextlib.closing(ProgressBar(schedule, first_epoch)) as progress_bar:
            callbacks = _callbacks(schedule, data, log, training_state, first_epoch)
            _fit(model, schedule, data, first_epoch, [*callbacks, progress_bar])
    if training_state is not None:
        training_state.add_finished(model, data.seed)


def _fit(
    model: tf.keras.Model,
    schedule: TrainingSchedule,
    data: TrainingData,
    first_epoch: int,
    callbacks: list[tf.keras.callbacks.Callback],
) -> None:
    """Train from `first_epoch` (from 0) on."""
    validation = None
    if data.validation is not None:
        validation = data_loader.validation_dataset(data.validation, data.batch_size, data.replicas)
    first_step = first_epoch * schedule.steps_per_epoch
    model.fit(
        data_loader.training_dataset(data.train, data.batch_size, data.seed, data.replicas, first_step, data.crop_size),
        validation_data=validation,
        initial_epoch=first_epoch,
        epochs=schedule.epochs,
        steps_per_epoch=schedule.steps_per_epoch,
        callbacks=callbacks,
        verbose=0,
    )


def _callbacks(
    schedule: TrainingSchedule,
    data: TrainingData,
    log: EpochLog,
    training_state: TrainingState | None,
    first_epoch: int,
) -> list[tf.keras.callbacks.Callback]:
    """Make the callbacks in the order in which they are called: scores, divergence, best weights, checkpoints."""
    best = None if data.validation is None else divergence_guard.BestWeights(schedule.monitor, schedule.patience)

    def batch_indices(epoch: int, step: int) -> np.ndarray:
        steps_before = epoch * schedule.steps_per_epoch + step
        return next(data_loader.batch_indices(len(data.train.images), data.batch_size, data.seed, steps_before))

    def warn(epoch: int, logs: dict[str, float]) -> None:
        ended = guard.model.stop_training or epoch + 1 == schedule.epochs
        divergence_guard.warn_if_flat(schedule.monitor, log.scores(schedule.monitor, epoch + 1), ended)

    guard = divergence_guard.DivergenceGuard(batch_indices, best, epochs_before=log.epoch - first_epoch)
    checkpoints = CheckpointCallback(training_state, data.seed, log.rows, best) if training_state else None
    flat = None if data.validation is None else tf.keras.callbacks.LambdaCallback(on_epoch_end=warn)
    return [callback for callback in (log, guard, best, flat, checkpoints) if callback]
