"""Every stage but record once, by its command in dvc.yaml, on a few drawn photographs with a small network."""

import json
import math
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from src.data import samples
from src.metrics import metric_definitions
from src.params import load_checkpoints, load_params
from src.preprocessing import patch_storage
from src.reporting import figure_texts

SMALL = {
    "phantom": {"n_train": 5, "n_test": 2, "height": 150, "width": 140},
    "preprocess": {"fov_diameter": 130},
    "patch": {"size": 64, "stride": 48, "context": 2.0},
    "augment": {"n_per_patch": 1},
    "model": {"backbone": "mobilenetv2"},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2},
    "evaluate": {"tile": 96, "overlap": 32, "tta_scales": [1.0, 0.5]},
    "plot": {"dpi": 50, "detail_size": 32},
}


PROJECT = Path.cwd()


def run(command: str, folder: Path) -> None:
    """Run a stage's command in `folder`, with the code of the project."""
    python, *arguments = shlex.split(command)
    assert python == "python"
    environment = os.environ | {"PYTHONPATH": str(PROJECT), "TRACKING_LIVE": "false"}
    done = subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def run_all(root: Path, **changes: dict) -> Path:
    """Run the stages in `root`, with these changes in the sections of params.yaml beside SMALL."""
    values = load_params().model_dump() | {"checkpoints": load_checkpoints().model_dump()}
    for section in SMALL.keys() | changes.keys():
        values[section] |= SMALL.get(section, {}) | changes.get(section, {})
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    for name, stage in yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].items():
        if name != "record" and "cmd" in stage:  # without the stages of custom data sets
            run(stage["cmd"], root)
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A folder in which the stages have run."""
    return run_all(tmp_path_factory.mktemp("run"))


def test_subsets_have_the_numbers_of_images_asked_for(root):
    numbers = [len(samples.find(root / "data" / "raw" / subset)) for subset in ("train", "validation", "test")]
    assert numbers == [4, 1, 2]


def test_augmented_patches_are_one_and_its_copies(root):
    plain, more = (patch_storage.read(root / "data" / folder) for folder in ("patches/train", "augmented"))
    assert len(more.images) == 2 * len(plain.images)
    assert more.images.shape[1:] == (64, 64, 3)


def test_training_table_has_a_finite_row_an_epoch(root):
    table = pd.read_csv(root / "metrics" / "training.csv")
    assert list(table["epoch"]) == [1, 2]
    assert np.isfinite(table[["loss", "validation_loss", "accuracy", "validation_accuracy"]]).all(axis=None)


def test_predictions_have_the_native_size_and_are_zero_outside_the_fov(root):
    for sample in samples.find(root / "data" / "raw" / "test"):
        levels = samples.read_levels(root / "data" / "predictions" / sample.dataset / f"{sample.id}.png")
        assert levels.shape == (150, 140)
        assert not levels[~samples.fov(sample)].any()


def test_every_filter_has_a_threshold_and_a_map_of_every_test_image(root):
    folder, found = root / "data" / "baselines", samples.find(root / "data" / "raw" / "test")
    thresholds = json.loads((folder / "thresholds.json").read_text(encoding="utf-8"))
    assert set(thresholds) == {"frangi", "sato", "matched_filter"}
    for name in thresholds:
        for sample in found:
            levels = samples.read_levels(folder / name / sample.dataset / f"{sample.id}.png")
            assert levels.shape == (150, 140)
            assert levels.any()
            assert not levels[~samples.fov(sample)].any()


def test_scores_are_finite_and_have_their_names(root):
    scores = json.loads((root / "metrics" / "scores.json").read_text(encoding="utf-8"))
    assert list(scores) == ["phantom"]
    assert list(scores["phantom"]) == list(metric_definitions.HEADLINE_SCORES)
    always_defined = ("f1", "iou_mean", "accuracy", "auc_roc", "auc_pr", "loss")
    assert all(math.isfinite(scores["phantom"][name]) for name in always_defined)


def test_validation_has_the_threshold_and_scores(root):
    held_out = json.loads((root / "metrics" / "validation.json").read_text(encoding="utf-8"))["validation"]
    assert list(held_out) == ["threshold", *metric_definitions.VALIDATION_SCORES]
    assert 0 < held_out["threshold"] < 1
    assert 0 < held_out["f1"] < 1


def test_every_pixel_of_the_fov_is_in_a_bin_of_uncertainty(root):
    table = pd.read_csv(root / "metrics" / "uncertainty.csv")
    fields = [samples.fov(sample).sum() for sample in samples.find(root / "data" / "raw" / "test")]
    assert table["pixels"].sum() == sum(fields)
    assert 0 < table["errors"].sum() < sum(fields)


def test_every_figure_is_drawn(root):
    charts = {path.name for path in (root / "metrics" / "figures").iterdir()}
    assert charts == {f"{name}.png" for name in figure_texts.FIGURES}
    assert {path.name for path in (root / "data" / "examples").iterdir()} == {
        f"phantom_{rank}.png" for rank in ("best", "median", "worst")
    }


def test_report_speaks_of_the_test_set(root):
    assert "## `phantom`" in (root / "metrics" / "report.md").read_text(encoding="utf-8")


def test_page_shows_every_test_image(root):
    html = (root / "data" / "report.html").read_text(encoding="utf-8")
    for sample in samples.find(root / "data" / "raw" / "test"):
        assert f'alt="image phantom {sample.id}"' in html


def test_evaluating_again_writes_the_same_bytes(root):
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    command = stages["evaluate"]["cmd"]
    for option, folder in (("--predictions", "data/again"), ("--metrics", "again")):
        command = re.sub(rf"{option} \S+", f"{option} {folder}", command)
    run(command, root)
    for file in (root / "again").iterdir():
        assert file.read_bytes() == (root / "metrics" / file.name).read_bytes()


def test_stages_run_where_no_photograph_is_held_out(tmp_path):
    root = run_all(tmp_path, data={"validation_fraction": 0.0}, evaluate={"threshold": 0.4}, baselines={"filters": []})
    assert len(samples.find(root / "data" / "raw" / "train")) == 5
    table = pd.read_csv(root / "metrics" / "training.csv")
    assert np.isfinite(table["f1"]).all()
    assert table["validation_f1"].isna().all()
    held_out = json.loads((root / "metrics" / "validation.json").read_text(encoding="utf-8"))["validation"]
    assert held_out["threshold"] == 0.4
    assert held_out["f1"] is None
    assert "threshold 0.4000 (given)" in (root / "metrics" / "report.md").read_text(encoding="utf-8")
