"""Short trainings of the compact network that compare one thing with another, and what they find on photographs.

Intervals of their differences are over photographs, for the networks that were trained: another seed gives others.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src import backend, batches, intervals, losses, mapping, metrics, models, patches, samples, training
from src.backend import tf
from src.params import Params
from src.predictor import Predictor, Views
from stages import augment, patch

BATCH, SEED, DRAWS = 8, 1, 5000
RATE = 4e-3  # largest learning rate from random weights
VIEWS = Views(tile=1024, overlap=128, flips=True, batch_size=4, scales=(1.0,))
LOSS = training.in_fov(losses.bce_dice_loss)
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class Plan(NamedTuple):
    """How long a training is (steps of `BATCH` patches), its largest learning rate, and its seed."""

    steps: int
    rate: float = RATE
    seed: int = SEED


class Results(NamedTuple):
    """What a network finds in the FOV of N photographs: histograms (N) of its probabilities, persons (N,)."""

    histograms: list[metrics.Histogram]
    groups: np.ndarray

    @property
    def pooled(self) -> metrics.Histogram:
        """All pixels of all photographs."""
        return sum(self.histograms, metrics.EMPTY)

    def f1(self, threshold: float) -> np.ndarray:
        """F1 (N,) of each photograph."""
        return np.array([metrics.scores_at(histogram, threshold)["f1"] for histogram in self.histograms])

    def auc_roc(self) -> np.ndarray:
        """Area under the ROC (N,) of each photograph."""
        return np.array([metrics.auc_roc(histogram) for histogram in self.histograms])

    def auc_pr(self) -> np.ndarray:
        """Area under precision and recall (N,) of each photograph."""
        return np.array([metrics.auc_pr(histogram) for histogram in self.histograms])


def photographs(folder: Path) -> list[samples.Sample]:
    """The real photographs of one data set below `folder`, a subset as stage download writes it.

    Raises:
        ValueError: there are phantoms, or photographs of several data sets.
    """
    found = samples.find(folder)
    names = sorted({sample.dataset for sample in found})
    if len(names) > 1 or "phantom" in names:
        raise ValueError(f"{folder}: expected real photographs of one data set, got {', '.join(names)}")
    return found


def subset(chosen: Iterable[samples.Sample], root: Path) -> Path:
    """Write `root`, a subset of links to the chosen photographs, and return it."""
    chosen = list(chosen)
    samples.write_table(root, [sample[:3] for sample in chosen])
    for folder in {sample.folder for sample in chosen}:
        (root / folder.name).symlink_to(folder.resolve())
    return root


def augmented(root: Path, folder: Path, variants: int, params: Params) -> Path:
    """Write the patches of a subset, and at least `variants` changed ones, below `folder`; return where they are."""
    side = patches.context_side(params.patch.size, params.patch.context)
    patch.write_subset(root, folder / "patches", side, params.patch, params.preprocess)
    copies = math.ceil(variants / len(patches.read(folder / "patches").images))
    section = params.augment.model_copy(update={"copies": copies, "elastic": 0.0})
    augment.main(folder / "patches", folder / "augmented", params.patch.size, section)
    return folder / "augmented"


def compact(params: Params, weights: str | None = None) -> tf.keras.Model:
    """The compact network, from random weights or those of a saved one."""
    return models.build("residual_unet", "", weights, params.model.filters, params.patch.size)


def fit(
    make: Callable[[], tf.keras.Model],
    loss: Loss,
    folders: Sequence[Path],
    plan: Plan,
    callbacks: Iterable[tf.keras.callbacks.Callback] = (),
) -> tuple[tf.keras.Model, float]:
    """Train what `make` gives on batches with as many patches of each folder; the network, and the minutes."""
    tf.keras.backend.clear_session()
    backend.set_seed(plan.seed)
    network = make()
    schedule = training.Schedule(
        epochs=1,
        steps_per_epoch=plan.steps,
        learning_rate=plan.rate,
        warmup=0.05,
        cosine=True,
        clip_norm=1.0,
        monitor="loss",
        patience=None,
    )
    network.compile(optimizer=training.optimizer(schedule), loss=loss)
    begin = time.perf_counter()
    parts = [batches.training(patches.read(folder), BATCH // len(folders), plan.seed) for folder in folders]
    data = parts[0]
    if len(parts) > 1:
        data = tf.data.Dataset.zip(tuple(parts)).map(
            lambda *pairs: tuple(tf.concat(arrays, axis=0) for arrays in zip(*pairs, strict=True))
        )
    network.fit(data, steps_per_epoch=plan.steps, verbose=0, callbacks=list(callbacks))
    return network, (time.perf_counter() - begin) / 60


def predict(network: tf.keras.Model, root: Path, params: Params, views: Views = VIEWS) -> Results:
    """What a network finds in the photographs of a subset, with flips."""
    predictor = Predictor(models.forward(network), None, views)
    mapped = list(mapping.maps(root, predictor, params.preprocess.fov_diameter, params.preprocess.clahe))
    return Results([mapping.pooled([one]) for one in mapped], np.array([sample.group for sample, _ in mapped]))


def difference(values: np.ndarray, others: np.ndarray, groups: np.ndarray) -> intervals.Difference:
    """Mean of paired differences (N,) of a score of which more is better, with its interval over photographs."""
    return intervals.paired(values, others, groups, False, DRAWS, SEED)


def cell(d: intervals.Difference) -> str:
    """A difference as a cell of a table: mean and interval."""
    return f"{d.mean:+.4f} [{d.low:+.4f}, {d.high:+.4f}]"
