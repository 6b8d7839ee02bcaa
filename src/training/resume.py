"""Resume a stopped training: all that changes during one, to a checkpoint and back."""

from typing import Any

import numpy as np

from src.models.tensorflow_setup import tf
from src.training.checkpoint_store import Checkpoint, CheckpointStore
from src.training.divergence_guard import BestWeights, all_finite
from src.training.epoch_log import Row

Arrays = dict[str, np.ndarray]
BEST_COUNTERS = ("best", "best_epoch", "wait", "stopped_epoch")  # of `BestWeights`, beside its weights


def variables(model: tf.keras.Model) -> list[tf.Variable]:
    """List every variable of a compiled network that outlasts a training step, in a fixed order.

    tf.train.TrackableView finds what TensorFlow puts into its own checkpoints: weights with the statistics of batch
    normalisation, moments and step count of the optimizer (the place in the learning rate schedule), and the loss
    scale of float16. Keras leaves the random state of dropout out of these, without which a training would not resume
    exactly. Python's and NumPy's random numbers are used only while a network is built.
    """
    tracked = [item for item in tf.train.TrackableView(model).descendants() if isinstance(item, tf.Variable)]
    random_layers = [layer for layer in model.submodules if hasattr(layer, "_random_generator")]
    generators = [layer._random_generator._generator for layer in random_layers]
    return tracked + [generator.state for generator in generators if generator is not None]


class TrainingState:
    """The state of a training of one or several ensemble members, which are told apart by their seeds."""

    def __init__(self, store: CheckpointStore) -> None:
        """Read the newest checkpoint, if any."""
        self.store = store
        self.checkpoint = store.read_newest()
        self.finished: Arrays = {}

    def describe_resume(self) -> str:
        """Say what the same command will do after a stop."""
        return "the same command goes on from there" if self.store.files() else "the same command begins anew"

    def table_rows(self) -> list[Row]:
        """Return the rows of the training table in the checkpoint, with the header; none without a checkpoint."""
        return self.checkpoint.state["rows"] if self.checkpoint else []

    def restore_finished(self, model: tf.keras.Model, seed: int) -> bool:
        """Restore the weights of a member if its training was finished; say whether it was."""
        weights = _unpack(self.checkpoint.arrays, f"finished_{seed}") if self.checkpoint else []
        if weights:
            model.set_weights(weights)
        return bool(weights)

    def restore_unfinished(self, model: tf.keras.Model, seed: int) -> int:
        """Restore the variables of a member and return the epoch (from 0) that comes next; 0 without a checkpoint.

        Where early stopping had ended the training, that is beyond the last epoch.
        """
        checkpoint = self._checkpoint_of(seed)
        if checkpoint is None:
            return 0
        for variable, value in zip(variables(model), _unpack(checkpoint.arrays, "variable"), strict=True):
            variable.assign(value)
        return checkpoint.state["next_epoch"]

    def restore_best(self, best: BestWeights, seed: int) -> None:
        """Restore the counters and weights of `best`, if the checkpoint is of this member."""
        checkpoint = self._checkpoint_of(seed)
        if checkpoint is not None:
            for name, value in checkpoint.state["best"].items():
                setattr(best, name, value)
            best.best_weights = _unpack(checkpoint.arrays, "best") or None

    def add_finished(self, model: tf.keras.Model, seed: int) -> None:
        """Keep the weights of a finished member in all checkpoints from now on."""
        self.finished |= _pack(model.get_weights(), f"finished_{seed}")

    def _checkpoint_of(self, seed: int) -> Checkpoint | None:
        """Return the checkpoint if it was written during the training of this member."""
        return self.checkpoint if self.checkpoint and self.checkpoint.state["seed"] == seed else None


class CheckpointCallback(tf.keras.callbacks.Callback):
    """Write a checkpoint at the end of each epoch; must be the last callback, as it saves what the others changed."""

    def __init__(self, training_state: TrainingState, seed: int, rows: list[Row], best: BestWeights | None) -> None:
        """Write checkpoints of the member of this seed; `rows` is the training table, which grows."""
        super().__init__()
        self.training_state, self.seed, self.rows, self.best = training_state, seed, rows, best

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Restore the best weights, which their own callback has just reset."""
        if self.best is not None:
            self.training_state.restore_best(self.best, self.seed)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write, unless a weight is NaN or infinite: then the checkpoint before is worth more."""
        if not all_finite(self.model.get_weights()):
            return
        next_epoch = self.params["epochs"] if self.model.stop_training else epoch + 1
        state: dict[str, Any] = {"seed": self.seed, "next_epoch": next_epoch, "rows": self.rows, "best": {}}
        values = [variable.numpy() for variable in variables(self.model)]
        arrays = self.training_state.finished | _pack(values, "variable")
        if self.best is not None:
            counters = {name: getattr(self.best, name) for name in BEST_COUNTERS}
            state["best"] = {
                name: value if isinstance(value, int) else float(value) for name, value in counters.items()
            }
            arrays |= _pack(self.best.best_weights or [], "best")
        self.training_state.store.write(len(self.rows) - 1, Checkpoint(state, arrays))


def _pack(values: list[np.ndarray], name: str) -> Arrays:
    return {f"{name}.{number}": value for number, value in enumerate(values)}


def _unpack(arrays: Arrays, name: str) -> list[np.ndarray]:
    count = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{number}"] for number in range(count)]
