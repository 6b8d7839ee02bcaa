"""Tell a training that goes wrong: what is no number ends it, a score that never rises is warned of."""

import math
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.backend import tf

LEAST_SCALE = 1.0  # of a loss in float16: Keras halves it at each step that it leaves out, and never below this
FLAT_EPOCHS = 5  # a sound network is better at the end of one of these than of the first


class BadLossError(ValueError):
    """A loss or a weight is no number.

    The model has the weights that it had after `epoch`, which are `kind`; bad ones if `epoch` is None.
    """

    def __init__(self, message: str, model: tf.keras.Model, epoch: int | None, kind: str = "") -> None:
        """The sentence, the model, and which weights it has; epochs are counted on through all members."""
        super().__init__(message)
        self.model, self.epoch, self.kind = model, epoch, kind


class Good(NamedTuple):
    """Weights that are numbers, the epoch (from 0) of the member after which they were so, and what is good in them."""

    epoch: int
    weights: list[np.ndarray]
    kind: str


class Best(tf.keras.callbacks.EarlyStopping):
    """Holds the best weights so far by a validation score.

    With a patience, a training ends after so many epochs without a better score, and in any case with the best weights;
    without, it has its length and its last weights.
    """

    def __init__(self, monitor: str, patience: int | None) -> None:
        """Nothing seen yet; less is better for the monitor `loss`."""
        super().__init__(
            monitor=f"val_{monitor}",
            mode="min" if monitor == "loss" else "max",
            patience=math.inf if patience is None else patience,
            restore_best_weights=True,
        )
        self.kind = f"the best by validation {monitor}"

    def on_train_end(self, logs: dict | None = None) -> None:
        """Go back to the best weights, where there is a patience."""
        if math.isfinite(self.patience):
            super().on_train_end(logs)

    def good(self) -> Good | None:
        """The best weights, if there are any yet."""
        return None if self.best_weights is None else Good(self.best_epoch, self.best_weights, self.kind)


class Health(tf.keras.callbacks.Callback):
    """Stops at a loss, validation loss or weight that is NaN or infinite, with what explains it.

    The network is left with the best weights so far, or where no image is held out with the last good ones. It stands
    before `Best`, which so sees good weights alone: what a training ends with is good.
    """

    def __init__(self, drawn: Callable[[int, int], np.ndarray], best: Best | None, before: int) -> None:
        """Watch a member.

        Args:
            drawn: from an epoch and a step, both from 0, to the indices of the patches of that batch.
            best: what holds the best weights; None where no image is held out.
            before: number of epochs of the members before this one.
        """
        super().__init__()
        self.drawn, self.best, self.before = drawn, best, before
        self.epoch = self.step = 0
        self.last: Good | None = None

    def on_epoch_begin(self, epoch: int, logs: dict | None = None) -> None:
        """Note which epoch it is, and the weights with which a training goes on that was stopped."""
        self.epoch = epoch
        if epoch > 0 and self.last is None:
            self._note(self.model.get_weights(), epoch - 1)

    def on_train_batch_end(self, batch: int, logs: dict) -> None:
        """Refuse to go on from a loss that is no number."""
        self.step = batch
        if not math.isfinite(logs["loss"]):
            self._stop(f"the loss became {logs['loss']}")

    def on_epoch_end(self, epoch: int, logs: dict) -> None:
        """Refuse weights that are no numbers, as the loss of a step is that before its update; note good ones."""
        weights = self.model.get_weights()
        if not finite(weights):
            self._stop("a weight became NaN or infinite")
        if float(getattr(self.model.optimizer, "loss_scale", math.inf)) <= LEAST_SCALE:
            self._refuse(
                "in float16, steps whose gradients were NaN or infinite were left out again and again up to epoch "
                f"{self.before + epoch + 1}, at learning rate {self._rate():.6g}: set train.mixed_precision: false, "
                "lower train.learning_rate or set train.clip_norm"
            )
        if not math.isfinite(logs.get("val_loss", 0.0)):
            rate, where = self._rate(), self._where()
            self._refuse(
                f"the validation loss became {logs['val_loss']} after {where}, at learning rate {rate:.6g}: look at "
                "data/patches/validation, lower train.learning_rate or set train.clip_norm"
            )
        self._note(weights, epoch)

    def _stop(self, what: str) -> None:
        """End the training at this step, whose patches are named."""
        indices = ", ".join(map(str, self.drawn(self.epoch, self.step)))
        self._refuse(
            f"{what} in {self._where()}, at learning rate {self._rate():.6g}, on the augmented patches {indices}: "
            "look at these, lower train.learning_rate or set train.clip_norm"
        )

    def _refuse(self, message: str) -> None:
        good = (self.best and self.best.good()) or self.last
        if good is None:
            raise BadLossError(message, self.model, None)
        self.model.set_weights(good.weights)
        raise BadLossError(message, self.model, self.before + good.epoch + 1, good.kind)

    def _where(self) -> str:
        return f"epoch {self.before + self.epoch + 1}, step {self.step + 1}"

    def _rate(self) -> float:
        return float(tf.convert_to_tensor(self.model.optimizer.learning_rate))

    def _note(self, weights: list[np.ndarray], epoch: int) -> None:
        self.last = Good(epoch, weights, "the last without a validation score")


def finite(weights: list[np.ndarray]) -> bool:
    """Whether every weight is a number."""
    return all(np.isfinite(array).all() for array in weights)


def warn_if_flat(monitor: str, scores: list[float], over: bool) -> None:
    """One warning, after FLAT_EPOCHS or fewer where the training is `over`, if no score is better than the first.

    Args:
        monitor: name of the validation score; less is better for `loss`.
        scores: that score after each epoch so far, NaN where undefined.
        over: whether the last of them was the last epoch.
    """
    if not 2 <= len(scores) <= FLAT_EPOCHS or (len(scores) < FLAT_EPOCHS and not over):
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
