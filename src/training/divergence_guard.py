"""Detect NaN and infinity during training and stop, naming the batch; warn of a score that never improves."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.models.tensorflow_setup import tf

MIN_LOSS_SCALE = 1.0  # of a loss in float16: Keras halves it at each skipped step, but never below this
FLAT_EPOCHS = 5  # a sound training improves on its first epoch within these


class DivergenceError(ValueError):
    """A loss or a weight became NaN or infinite.

    Attributes:
        model: with finite weights, those after `epoch`; with bad ones if `epoch` is None.
        epoch: from 1, counted through all ensemble members.
        description: which weights these are, in words.
    """

    def __init__(self, message: str, model: tf.keras.Model, epoch: int | None, description: str = "") -> None:
        """See the class."""
        super().__init__(message)
        self.model, self.epoch, self.description = model, epoch, description


class SavedWeights(NamedTuple):
    """Finite weights, the epoch (from 0) of the member after which they were saved, and a description in words."""

    epoch: int
    weights: list[np.ndarray]
    description: str


class BestWeights(tf.keras.callbacks.EarlyStopping):
    """Save the best weights so far by a validation score.

    With a patience, a training ends after so many epochs without a better score, and in any case with the best weights.
    Without one it runs all epochs and keeps its last weights.
    """

    def __init__(self, monitor: str, patience: int | None) -> None:
        """Watch the validation score `monitor`; of `loss`, lower is better."""
        super().__init__(
            monitor=f"val_{monitor}",
            mode="min" if monitor == "loss" else "max",
            patience=math.inf if patience is None else patience,
            restore_best_weights=True,
        )
        self.description = f"the best by validation {monitor}"

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Restore the best weights if there is a patience."""
        if math.isfinite(self.patience):
            super().on_train_end(logs)

    def saved(self) -> SavedWeights | None:
        """Return the best weights, if there are any yet."""
        if self.best_weights is None:
            return None
        return SavedWeights(self.best_epoch, self.best_weights, self.description)


class DivergenceGuard(tf.keras.callbacks.Callback):
    """Raise DivergenceError at a loss, validation loss or weight that is NaN or infinite, with what explains it.

    The network is left with the best weights so far, or the last finite ones where no image is held out. It is called
    before `BestWeights`, which therefore sees finite weights only.
    """

    def __init__(
        self, batch_indices: Callable[[int, int], np.ndarray], best: BestWeights | None, epochs_before: int
    ) -> None:
        """Watch the training of one ensemble member.

        Args:
            batch_indices: from an epoch and a step, both from 0, to the patch indices of that batch.
            best: the callback that saves the best weights; None where no image is held out.
            epochs_before: number of epochs of the members before this one.
        """
        super().__init__()
        self.batch_indices, self.best, self.epochs_before = batch_indices, best, epochs_before
        self.epoch = self.step = 0
        self.last: SavedWeights | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the epoch, and the weights with which a stopped training resumes."""
        self.epoch = epoch
        if epoch > 0 and self.last is None:
            self._save_weights(self.model.get_weights(), epoch - 1)

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Stop at a loss that is NaN or infinite: by the patches of this step, or by the update of the step before."""
        self.step = batch
        if not math.isfinite(logs["loss"]):
            before = f", or by the update on {self._patches(batch - 1)}" if batch else ""
            self._stop_at_batch(f"the loss became {logs['loss']}", f"{self._patches(batch)}{before}")

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Stop at weights that are NaN or infinite (the loss of a step is computed before its update); save others."""
        weights = self.model.get_weights()
        if not all_finite(weights):
            self._stop_at_batch("a weight became NaN or infinite", self._patches(self.step))
        if float(getattr(self.model.optimizer, "loss_scale", math.inf)) <= MIN_LOSS_SCALE:
            self._stop(
                "in float16, steps were skipped again and again because their gradients were NaN or infinite, up to "
                f"epoch {self.epochs_before + epoch + 1}, at learning rate {self._learning_rate():.6g}: set "
                "train.mixed_precision: false, lower train.learning_rate or set train.clip_norm"
            )
        if not math.isfinite(logs.get("val_loss", 0.0)):
            self._stop(
                f"the validation loss became {logs['val_loss']} after {self._place()}, at learning rate "
                f"{self._learning_rate():.6g}: look at data/patches/validation, lower train.learning_rate or set "
                "train.clip_norm"
            )
        self._save_weights(weights, epoch)

    def _patches(self, step: int) -> str:
        return ", ".join(map(str, self.batch_indices(self.epoch, step)))

    def _stop_at_batch(self, reason: str, patches: str) -> None:
        self._stop(
            f"{reason} in {self._place()}, at learning rate {self._learning_rate():.6g}, on the augmented patches "
            f"{patches}: look at these, lower train.learning_rate or set train.clip_norm"
        )

    def _stop(self, message: str) -> None:
        """Restore the saved weights, if any, and raise DivergenceError."""
        saved = (self.best and self.best.saved()) or self.last
        if saved is None:
            raise DivergenceError(message, self.model, None)
        self.model.set_weights(saved.weights)
        raise DivergenceError(message, self.model, self.epochs_before + saved.epoch + 1, saved.description)

    def _place(self) -> str:
        return f"epoch {self.epochs_before + self.epoch + 1}, step {self.step + 1}"

    def _learning_rate(self) -> float:
        return float(tf.convert_to_tensor(self.model.optimizer.learning_rate))

    def _save_weights(self, weights: list[np.ndarray], epoch: int) -> None:
        self.last = SavedWeights(epoch, weights, "the last without a validation score")


def all_finite(weights: list[np.ndarray]) -> bool:
    """Say whether no weight is NaN or infinite."""
    return all(np.isfinite(array).all() for array in weights)


def warn_if_flat(monitor: str, scores: list[float], ended: bool) -> None:
    """Warn once if no validation score is better than the first, after FLAT_EPOCHS or at an earlier end.

    Args:
        monitor: name of the score; of `loss`, lower is better.
        scores: the score after each epoch so far, NaN where undefined.
        ended: whether the training ended with the last of them.
    """
    if not 2 <= len(scores) <= FLAT_EPOCHS or (len(scores) < FLAT_EPOCHS and not ended):
        return
    higher_is_better = [-score for score in scores] if monitor == "loss" else scores
    first, *later = [-math.inf if math.isnan(score) else score for score in higher_is_better]
    if max(later) <= first:
        tqdm.write(
            f"warning: validation {monitor} was never better in {len(scores)} epochs (now {scores[-1]:.4f}) than after "
            f"the first ({scores[0]:.4f}): look at data/patches/train (is the ground truth aligned with the vessels?), "
            "train.learning_rate (too high, too low?) and loss",
            file=sys.stderr,
        )
