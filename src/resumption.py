"""A training that goes on where it was stopped: all that changes in it, to a checkpoint and back."""

from typing import Any

import numpy as np

from src.backend import tf
from src.checkpoints import Checkpoint, Store
from src.health import Best, finite

Arrays = dict[str, np.ndarray]
COUNTERS = ("best", "best_epoch", "wait", "stopped_epoch")  # of `Best`, beside its weights


def variables(model: tf.keras.Model) -> list[tf.Variable]:
    """Every variable of a compiled network that outlasts a step of training, in a fixed order.

    Weights, with the statistics of batch normalisation; the optimizer's moments and its count of steps, which is the
    place in the schedule; the scale of the loss in float16; the random numbers of dropout. Those of Python and NumPy
    are used while a network is built and not after.
    """
    optimizer = model.optimizer
    optimizer.build(model.trainable_variables)
    scale = getattr(optimizer, "_loss_scale", None)
    generators = [
        layer._random_generator._generator for layer in model.submodules if hasattr(layer, "_random_generator")
    ]
    return [
        *model.weights,
        *optimizer.variables,
        *([] if scale is None else [scale.current_loss_scale, scale.counter]),
        *(generator.state for generator in generators if generator is not None),
    ]


class Memory:
    """What is kept of a training of several members; they are told apart by their seeds."""

    def __init__(self, store: Store) -> None:
        """Read the newest checkpoint, if any."""
        self.store = store
        self.found = store.newest()
        self.finished: Arrays = {}

    def promise(self) -> str:
        """What the same command will do."""
        return "the same command goes on from there" if self.store.paths() else "the same command begins anew"

    def rows(self) -> list[list[Any]]:
        """The table as far as it goes in the checkpoint, with its header; nothing without a checkpoint."""
        return self.found.state["rows"] if self.found else []

    def restore_finished(self, model: tf.keras.Model, seed: int) -> bool:
        """Whether this member was finished; it then has its weights."""
        weights = _unpacked(self.found.arrays, f"finished_{seed}") if self.found else []
        if weights:
            model.set_weights(weights)
        return bool(weights)

    def restore(self, model: tf.keras.Model, seed: int) -> int:
        """The epoch (from 0) with which this member goes on, with the variables it had; 0 if there is nothing of it.

        Where early stopping had ended it, that is beyond its last.
        """
        if not self._holds(seed):
            return 0
        for variable, value in zip(variables(model), _unpacked(self.found.arrays, "variable"), strict=True):
            variable.assign(value)
        return self.found.state["begin"]

    def restore_best(self, best: Best, seed: int) -> None:
        """Give it the counts and the weights it had, if there is anything of this member."""
        if self._holds(seed):
            for name, value in self.found.state["best"].items():
                setattr(best, name, value)
            best.best_weights = _unpacked(self.found.arrays, "best") or None

    def finish(self, model: tf.keras.Model, seed: int) -> None:
        """Keep the weights of a finished member in all checkpoints from now on."""
        self.finished |= _packed(model.get_weights(), f"finished_{seed}")

    def _holds(self, seed: int) -> bool:
        return self.found is not None and self.found.state["seed"] == seed


class Keeper(tf.keras.callbacks.Callback):
    """Writes a checkpoint at the end of each epoch; stands last, as other callbacks' doings are in it."""

    def __init__(self, memory: Memory, seed: int, rows: list, best: Best | None) -> None:
        """For the member of this seed; `rows` is the table that grows."""
        super().__init__()
        self.memory, self.seed, self.rows, self.best = memory, seed, rows, best

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Set the best weights back to what they were; at its own beginning, just before, it has forgotten all."""
        if self.best is not None:
            self.memory.restore_best(self.best, self.seed)

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        """Write, unless a weight is no number: the checkpoint before is worth more."""
        if not finite(self.model.get_weights()):
            return
        begin = self.params["epochs"] if self.model.stop_training else epoch + 1
        state = {"seed": self.seed, "begin": begin, "rows": self.rows, "best": {}}
        arrays = self.memory.finished | _packed([variable.numpy() for variable in variables(self.model)], "variable")
        if self.best is not None:
            counts = {name: getattr(self.best, name) for name in COUNTERS}
            state["best"] = {n: value if isinstance(value, int) else float(value) for n, value in counts.items()}
            arrays |= _packed(self.best.best_weights or [], "best")
        self.memory.store.write(len(self.rows) - 1, Checkpoint(state, arrays))


def _packed(values: list[np.ndarray], name: str) -> Arrays:
    return {f"{name}.{number}": value for number, value in enumerate(values)}


def _unpacked(arrays: Arrays, name: str) -> list[np.ndarray]:
    number = sum(key.startswith(f"{name}.") for key in arrays)
    return [arrays[f"{name}.{index}"] for index in range(number)]
