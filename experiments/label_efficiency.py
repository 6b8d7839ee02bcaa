"""Measure what synthetic images save of annotated ones: python -m experiments.label_efficiency TRAIN TEST MODEL.

TRAIN and TEST are folders of real images as stage download writes them (data/raw/train of a run with
`data.validation_fraction: 0`, and data/raw/test); MODEL is the model.h5 of a run on synthetic images alone. The compact
U-Net is trained on 1, 2, 5, 10 and 20 images of TRAIN, for equally many steps in three ways: from random weights; the
same with synthetic images as half of every batch; from the weights of MODEL, whose own training comes on top. It is
scored on TEST at probability .5, as no image is left to choose a threshold on. Differences to the first way are paired
by image; with one or two images, all is the mean over two choices of them.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import short_training
from experiments.result_writer import RESULTS, ResultWriter, Value, difference_columns, difference_values
from experiments.short_training import BATCH_SIZE, LEARNING_RATE, LOSS, RESAMPLES, SEED, TrainingPlan, compact_unet
from src.data import samples
from src.data.entries import synthetic_entries
from src.data.subset_writer import write_subsets
from src.metrics import bootstrap
from src.models import model_io, tensorflow_setup
from src.params import Params, load_params

SIZES = (1, 2, 5, 10, 20)  # images that are trained on
FEW, CHOICES = 2, 2  # up to how many images their choice is repeated, and how often
N_SYNTHETIC = 100  # images mixed in
FINE_TUNING_RATE = 1e-3  # peak learning rate from pretrained weights
THRESHOLD = 0.5
REAL_ONLY, MIXED, PRETRAINED = "real images only", "synthetic images mixed in", "pretrained on synthetic images"
COLUMNS = (
    *("n_training_images", "training", "n_test_images", "mean_f1", "mean_f1_low", "mean_f1_high", "mean_auc_roc"),
    *difference_columns("f1"),
)


class Scores(NamedTuple):
    """F1 and AUC-ROC (N,) of N test images, and the patient (group) of each (N,)."""

    f1: np.ndarray
    auc_roc: np.ndarray
    groups: np.ndarray


class Training(NamedTuple):
    """Initial weights (None: random), peak learning rate, and patches that are half of every batch."""

    weights: str | None
    learning_rate: float
    mixed_in: list[Path]


def score(results: short_training.TestResults) -> Scores:
    """Score one network."""
    return Scores(results.f1(THRESHOLD), results.auc_roc(), results.groups)


def mean_scores(several: list[Scores]) -> Scores:
    """Average over choices of training images."""
    f1, auc_roc = (np.mean([getattr(one, name) for one in several], axis=0) for name in ("f1", "auc_roc"))
    return several[0]._replace(f1=f1, auc_roc=auc_roc)


def train_and_score(
    chosen: list[samples.Sample], trainings: dict[str, Training], steps: int, test: Path, params: Params
) -> dict[str, Scores]:
    """Train on the chosen images in several ways, and score on the test images."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root = short_training.link_subset(chosen, Path(folder) / "train")
        data = short_training.augment_subset(root, Path(folder), steps * BATCH_SIZE, params)
        for name, training in trainings.items():
            build = partial(compact_unet, params, training.weights)
            plan = TrainingPlan(steps, training.learning_rate)
            network, _ = short_training.fit(build, LOSS, [data, *training.mixed_in], plan)
            found[name] = score(short_training.predict(network, test, params))
    return found


def augment_synthetic(folder: Path, least: int, params: Params) -> Path:
    """Write at least `least` augmented patches of synthetic images below `folder`; return their folder."""
    section = params.phantom
    entries = synthetic_entries(N_SYNTHETIC, 1, section.height, section.width, section.seed)
    write_subsets(folder, {"train": entries.train})
    return short_training.augment_subset(folder / "train", folder, least, params)


def describe(scores: Scores, baseline: Scores | None = None) -> dict[str, Value]:
    """Summarise scores, and their paired difference to a baseline, by columns of the table."""
    f1 = bootstrap.mean_interval(scores.f1, scores.groups, RESAMPLES, SEED)
    values: dict[str, Value] = {
        "n_test_images": len(scores.f1),
        "mean_f1": f1.mean,
        "mean_f1_low": f1.low,
        "mean_f1_high": f1.high,
        "mean_auc_roc": float(scores.auc_roc.mean()),
    }
    if baseline is None:
        return values
    return values | difference_values("f1", short_training.paired_difference(scores.f1, baseline.f1, baseline.groups))


def main() -> None:
    """Write the rows of each number of images as its trainings end."""
    parser = argparse.ArgumentParser(prog="python -m experiments.label_efficiency", description=__doc__.splitlines()[0])
    for name in ("train", "test", "model"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=150, help="of each training, of 8 patches (default: 150)")
    parser.add_argument("--results", type=Path, default=RESULTS / "label_efficiency.csv", help="CSV to write")
    arguments = parser.parse_args()
    params = load_params()
    tensorflow_setup.configure(params.train.cpu_threads, SEED)
    images = short_training.find_real_images(arguments.train)
    short_training.find_real_images(arguments.test)
    if len(images) < max(SIZES):
        parser.error(f"{arguments.train}: expected {max(SIZES)} images or more, got {len(images)}")
    writer = ResultWriter(arguments.results, COLUMNS)
    pretrained = score(short_training.predict(model_io.load(arguments.model), arguments.test, params))
    writer.add(n_training_images=0, training=PRETRAINED, **describe(pretrained))
    run_sizes(images, writer, arguments, params)


def run_sizes(
    images: list[samples.Sample], writer: ResultWriter, arguments: argparse.Namespace, params: Params
) -> None:
    """Train on each number of images in all ways."""
    steps = arguments.steps
    with tempfile.TemporaryDirectory() as folder:
        synthetic = augment_synthetic(Path(folder), steps * BATCH_SIZE, params)
        trainings = {
            REAL_ONLY: Training(None, LEARNING_RATE, []),
            MIXED: Training(None, LEARNING_RATE, [synthetic]),
            PRETRAINED: Training(str(arguments.model), FINE_TUNING_RATE, []),
        }
        for size in SIZES:
            several = []
            for choice in range(CHOICES if size <= FEW else 1):
                order = np.random.default_rng([SEED, choice]).permutation(len(images))
                chosen = [images[i] for i in order[:size]]
                several.append(train_and_score(chosen, trainings, steps, arguments.test, params))
            means = {name: mean_scores([one[name] for one in several]) for name in trainings}
            for name, scores in means.items():
                baseline = None if name == REAL_ONLY else means[REAL_ONLY]
                writer.add(n_training_images=size, training=name, **describe(scores, baseline))


if __name__ == "__main__":
    main()
