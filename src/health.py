"""Tell a training that goes wrong: a loss that is no number ends it, a score that never rises is warned of."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.backend import tf

FLAT_EPOCHS = 5  # a sound network is better at the end of one of these than of the first


class BadLossError(ValueError):
    """The loss is no number. The model has the weights that it had after `epoch`; bad ones if that is None."""

    def __init__(self, message: str, model: tf.keras.Model, epoch: int | None) -> None:
        """The sentence, the model, and the epoch of its weights, counted on through all members."""
        super().__init__(message)
        self.model, self.epoch = model, epoch


class Good(NamedTuple):
    """Weights that are numbers, and the epoch (from 0) of the member after which they were so."""

    epoch: int
    weights: list[np.ndarray]


class Health(tf.keras.callbacks.Callback):
    """Stops at a loss that is NaN or infinite, with what explains it.

    The network is left with the best weights so far where early stopping looks for them, else with the last good ones.
    """

    def __init__(
        self,
        drawn: Callable[[int, int], np.ndarray],
        early: tf.keras.callbacks.EarlyStopping | None,
        before: int,
    ) -> None:
        """Watch a member.

        Args:
            drawn: from an epoch and a step, both from 0, to the indices of the patches of that batch.
            early: what holds the best weights.
            before: number of epochs of the members before this one.
        """
        super().__init__()
        self.drawn, self.early, self.before, self.epoch = drawn, early, before, 0
        self.last: Good | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note which epoch it is, and the weights with which a training goes on that was stopped."""
        self.epoch = epoch
        if epoch > 0 and self.last is None:
            self._note(epoch - 1)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Refuse to go on from a loss that is no number."""
        if math.isfinite(logs["loss"]):
            return
        rate = float(tf.convert_to_tensor(self.model.optimizer.learning_rate))
        indices = ", ".join(map(str, self.drawn(self.epoch, batch)))
        message = (
            f"the loss became {logs['loss']} in epoch {self.before + self.epoch + 1}, step {batch + 1}, "
            f"at learning rate {rate:.6g}, on the augmented patches {indices}: "
            "look at these, lower train.learning_rate or set train.clip_norm"
        )
        good = self._best() or self.last
        if good is None:
            raise BadLossError(message, self.model, None)
        self.model.set_weights(good.weights)
        raise BadLossError(message, self.model, self.before + good.epoch + 1)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Note the weights."""
        self._note(epoch)

    def _note(self, epoch: int) -> None:
        weights = self.model.get_weights()
        if finite(weights):
            self.last = Good(epoch, weights)

    def _best(self) -> Good | None:
        if self.early is None or self.early.best_weights is None or not finite(self.early.best_weights):
            return None
        return Good(self.early.best_epoch, self.early.best_weights)


def finite(weights: list[np.ndarray]) -> bool:
    """Whether every weight is a number."""
    return all(np.isfinite(array).all() for array in weights)


def warn_if_flat(monitor: str, scores: list[float], epochs: int) -> None:
    """One warning, after FLAT_EPOCHS or all `epochs` if these are fewer, where no score is better than the first.

    Args:
        monitor: name of the validation score; less is better for `loss`.
        scores: that score after each epoch so far, NaN where undefined.
        epochs: how many there will be.
    """
    if len(scores) < 2 or len(scores) != min(FLAT_EPOCHS, epochs):
        return
    rising = [-score for score in scores] if monitor == "loss" else scores
    first, *later = [-math.inf if math.isnan(score) else score for score in rising]
    if max(later) <= first:
        tqdm.write(
            f"warning: validation {monitor} was never better in {len(scores)} epochs (now {scores[-1]:.4f}) than after "
            f"the first ({scores[0]:.4f}): look at data/patches/train (does the truth lie on the vessels?), at "
            "train.learning_rate (too high, too low?) and at loss",
            file=sys.stderr,
        )
