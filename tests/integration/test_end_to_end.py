"""Every stage by its command in dvc.yaml, on a few synthetic images with a small network."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from robustness import scratch_project
from src.data import samples
from src.metrics import metric_definitions
from src.models import model_io
from src.preprocessing import patch_storage
from src.reporting import figure_texts
from src.tracking.mlflow_setup import MlflowClient
from src.tracking.tracking_store import local_uri

MULTI_SCALE = {"evaluate": {"tta_scales": [1.0, 0.5]}}
NO_VALIDATION = {
    "data": {"validation_fraction": 0.0},
    "model": {"architecture": "residual_w_net"},
    "train": {"ensemble_size": 2, "skeleton_recall_weight": [0.0, 0.5]},
    "evaluate": {"threshold": 0.4},
    "baselines": {"filters": []},
}
ALL_STAGES = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
STAGES = {name: stage["cmd"] for name, stage in ALL_STAGES.items() if "cmd" in stage}  # without custom data sets
ENCODER = {"model": {"architecture": "unet", "backbone": "efficientnetb0"}, "baselines": {"filters": []}}


def stages_of(folder: Path, changes: scratch_project.Changes, without: tuple[str, ...] = ()) -> list[object]:
    """Write tiny settings with these changes to a folder; returns it with each command of a stage, in turn."""
    scratch_project.write_params(folder, scratch_project.TINY, changes)
    return [part for name, command in STAGES.items() if name not in without for part in (folder, command)]


def run(runs: list[object]) -> None:
    """Run pairs of folder and command in one process."""
    environment = scratch_project.environment()
    environment.pop("MLFLOW_TRACKING_URI", None)
    command = [sys.executable, "-m", "tests.integration.stage_runs", *runs]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def roots(tmp_path_factory, add_store) -> dict[str, Path]:
    """Two folders: all stages have run in one; the other has no validation images, and two W-Nets, not exported."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("default", "no_validation")}
    for folder in folders.values():
        add_store(folder)
    again = STAGES["evaluate"]
    for option, place in (("--predictions", "data/again"), ("--metrics", "again")):
        again = re.sub(rf"{option} \S+", f"{option} {place}", again)
    run(
        [
            *stages_of(folders["default"], MULTI_SCALE),
            *(folders["default"], again),
            *stages_of(folders["no_validation"], NO_VALIDATION, without=("export", "record")),
        ]
    )
    return folders


@pytest.fixture(scope="module")
def root(roots) -> Path:
    """A folder in which the stages have run."""
    return roots["default"]


def check_scores(root: Path) -> None:
    """Assert that the scores have their names, and that those that always exist are finite."""
    scores = json.loads((root / "metrics" / "scores.json").read_text(encoding="utf-8"))
    assert list(scores) == ["phantom"]
    assert list(scores["phantom"]) == list(metric_definitions.HEADLINE_SCORES)
    always_defined = ("f1", "iou_mean", "accuracy", "auc_roc", "auc_pr", "loss")
    assert all(math.isfinite(scores["phantom"][name]) for name in always_defined)


def check_exported(root: Path) -> None:
    """Assert that the network has an ONNX file."""
    assert (root / "data" / "model" / "model.onnx").stat().st_size > 1000


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
    check_scores(root)


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
    for file in (root / "again").iterdir():
        assert file.read_bytes() == (root / "metrics" / file.name).read_bytes()


def test_exported_network_is_there(root):
    check_exported(root)


def test_run_is_recorded_with_its_scores_and_its_model(root):
    client = MlflowClient(local_uri(root))
    (run,) = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    scores = json.loads((root / "metrics" / "scores.json").read_text(encoding="utf-8"))
    assert run.info.status == "FINISHED"
    assert run.data.metrics["phantom.f1"] == pytest.approx(scores["phantom"]["f1"])
    assert client.search_model_versions(f"run_id = '{run.info.run_id}'")


def test_stages_run_where_no_image_is_held_out(roots):
    root = roots["no_validation"]
    assert len(samples.find(root / "data" / "raw" / "train")) == 5
    table = pd.read_csv(root / "metrics" / "training.csv")
    assert list(table["epoch"]) == [1, 2, 3, 4]  # of two members
    network = model_io.load(root / "data" / "model" / "model.h5")
    assert {"member_1", "member_2"} <= {layer.name for layer in network.layers}
    assert network.output_shape == (None, None, None, 1)
    assert np.isfinite(table["f1"]).all()
    assert table["validation_f1"].isna().all()
    held_out = json.loads((root / "metrics" / "validation.json").read_text(encoding="utf-8"))["validation"]
    assert held_out["threshold"] == 0.4
    assert held_out["f1"] is None
    assert "threshold 0.4000 (given)" in (root / "metrics" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_stages_run_with_an_encoder_of_segmentation_models(tmp_path):
    run(stages_of(tmp_path, ENCODER, without=("plot", "report", "record")))
    check_scores(tmp_path)
    check_exported(tmp_path)
