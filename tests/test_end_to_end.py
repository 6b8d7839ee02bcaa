"""Every stage once, on a few drawn photographs, with the smallest network, in a temporary folder."""

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src import patches, samples
from src.params import Params, load_params
from stages import augment, download, evaluate, patch, plot, train

SMALL = {
    "phantom": {"train": 5, "test": 2, "height": 150, "width": 140},
    "preprocess": {"fov_diameter": 130},
    "patch": {"size": 64, "stride": 48, "context": 2.0},
    "augment": {"copies": 1},
    "model": {"backbone": "mobilenetv2"},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2},
    "evaluate": {"tile": 96, "overlap": 32},
    "plot": {"dpi": 50, "zoom": 32},
}


def small_params() -> Params:
    values = load_params().model_dump()
    for section, changed in SMALL.items():
        values[section] |= changed
    return Params.model_validate(values)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder in which all stages but record have run."""
    root, params = tmp_path_factory.mktemp("run"), small_params()
    raw, cut, model = root / "raw", root / "patches", root / "model" / "model.h5"
    download.main(raw, params.data, params.phantom)
    patch.main(raw / "train", raw / "validation", cut, params.patch, params.preprocess)
    augment.main(cut / "train", root / "augmented", params.patch.size, params.augment)
    table = root / "metrics" / "training.csv"
    sections = params.model, params.loss, params.train
    train.main(root / "augmented", cut / "validation", model, table, *sections)
    evaluate.main(
        model,
        raw / "validation",
        raw / "test",
        root / "predictions",
        root / "metrics",
        params.evaluate,
        params.loss,
        params.preprocess,
        params.train.threads,
    )
    folders = raw / "test", root / "predictions", root / "metrics", root / "examples", root / "metrics" / "figures"
    plot.main(*folders, params.plot)
    return root


def test_subsets_have_the_numbers_of_images_asked_for(root):
    numbers = [len(samples.find(root / "raw" / subset)) for subset in ("train", "validation", "test")]
    assert numbers == [4, 1, 2]


def test_augmented_patches_are_one_and_its_copies(root):
    plain, more = (patches.read(root / folder) for folder in ("patches/train", "augmented"))
    assert len(more.images) == 2 * len(plain.images)
    assert more.images.shape[1:] == (64, 64, 3)


def test_training_table_has_a_finite_row_an_epoch(root):
    table = pd.read_csv(root / "metrics" / "training.csv")
    assert list(table["epoch"]) == [1, 2]
    assert np.isfinite(table[["loss", "validation_loss", "accuracy", "validation_accuracy"]]).all(axis=None)


def test_predictions_have_the_native_size_and_are_zero_outside_the_fov(root):
    for sample in samples.find(root / "raw" / "test"):
        levels = samples.read_levels(root / "predictions" / sample.dataset / f"{sample.id}.png")
        assert levels.shape == (150, 140)
        assert not levels[~samples.fov(sample)].any()


def test_scores_are_finite_and_named_as_users_know_them(root):
    scores = json.loads((root / "metrics" / "scores.json").read_text(encoding="utf-8"))
    assert 0 <= scores["threshold"] <= 1
    assert scores["phantom"]["images"] == 2
    for region in ("fov", "full_image"):
        named = scores["phantom"][region]
        assert all(math.isfinite(named[key]) for key in ("f1", "iou_mean", "accuracy", "auc_roc", "auc_pr", "loss"))


def test_every_figure_is_drawn(root):
    charts = {path.name for path in (root / "metrics" / "figures").iterdir()}
    assert charts == {"learning_curves.png", "roc.png", "precision_recall.png", "confusion.png", "per_image.png"}
    assert {path.name for path in (root / "examples").iterdir()} == {
        f"phantom_{rank}.png" for rank in ("best", "median", "worst")
    }


def test_evaluating_again_writes_the_same_bytes(root, tmp_path):
    params = small_params()
    evaluate.main(
        root / "model" / "model.h5",
        root / "raw" / "validation",
        root / "raw" / "test",
        tmp_path / "predictions",
        tmp_path,
        params.evaluate,
        params.loss,
        params.preprocess,
        params.train.threads,
    )
    for name in ("scores.json", "per_image.csv", "curves.csv"):
        assert (tmp_path / name).read_bytes() == (root / "metrics" / name).read_bytes()
