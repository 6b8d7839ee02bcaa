import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest

from src import losses, metrics, samples
from src.backend import tf
from src.counts import count, scores
from src.evaluation import Evaluation, loss_of

LOSS = losses.get("focal_dice", 0.25, 2.0, None)


def made(root: Path, dataset: str, id_: str, seed: int, second: bool) -> tuple[samples.Sample, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, fov, human = (rng.random((30, 30)) < share for share in (0.2, 0.7, 0.2))
    image = np.zeros((30, 30, 3), np.uint8)
    samples.write_eye(root, dataset, samples.Eye(id_, id_, image, truth, fov, human if second else None))
    probability = np.clip(0.3 * truth + 0.6 * rng.random(truth.shape), 0, 1)
    return samples.Sample(dataset, id_, id_, root / dataset), samples.to_levels(np.where(fov, probability, 0))


@pytest.fixture
def evaluation(tmp_path) -> Evaluation:
    result = Evaluation(0.5, LOSS)
    for number in range(3):
        result.add(*made(tmp_path, "drive", f"{number:02d}", number, second=True))
    result.add(*made(tmp_path, "hrf", "01_h", 9, second=False))
    return result


@pytest.mark.parametrize("name", ["focal_dice", "dice", "focal", "bce", "bce_dice"])
def test_loss_of_a_histogram_is_the_loss_of_the_map(tmp_path, name):
    sample, levels = made(tmp_path, "drive", "01", 1, False)
    truth, fov = samples.truth(sample), samples.fov(sample)
    loss = losses.get(name, 0.25, 2.0, None)
    direct = loss(*(tf.constant(array, tf.float64) for array in (truth, levels / 65535, fov)))
    assert loss_of(metrics.histogram(levels, truth, fov), loss) == pytest.approx(float(direct))


def test_every_image_observer_and_region_has_a_row(evaluation):
    assert len(evaluation.rows) == 3 * 2 * 2 + 2
    assert {row["region"] for row in evaluation.rows} == {"fov", "full_image"}


def test_pooled_score_is_that_of_all_pixels(evaluation, tmp_path):
    found = [samples.Sample("drive", f"{n:02d}", "", tmp_path / "drive") for n in range(3)]
    truth, human, fov = (
        np.concatenate([read(sample) for sample in found])
        for read in (samples.truth, samples.second_observer, samples.fov)
    )
    summary = evaluation.summary()["drive"]["second_observer"]
    for region, pixels in (("fov", fov), ("full_image", np.ones_like(fov))):
        expected = scores(count(truth, human, pixels))
        assert {name: summary[region][name] for name in expected} == pytest.approx(expected)


def test_mean_is_over_images(evaluation):
    rows = [r["f1"] for r in evaluation.rows if (r["dataset"], r["observer"], r["region"]) == ("drive", "model", "fov")]
    assert evaluation.summary()["drive"]["fov"]["mean_f1"] == pytest.approx(sum(rows) / 3)


def test_set_without_second_observer_has_none(evaluation):
    assert "second_observer" not in evaluation.summary()["hrf"]
    assert evaluation.summary()["drive"]["second_observer"]["images"] == 3


def test_files_hold_the_scores_and_are_the_same_twice(evaluation, tmp_path):
    for name in ("a", "b"):
        evaluation.write(tmp_path / name)
    names = ["curves.csv", "per_image.csv", "scores.json"]
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [(tmp_path / "b" / n).read_bytes() for n in names]
    written = json.loads((tmp_path / "a" / "scores.json").read_text(encoding="utf-8"))
    assert written["drive"]["fov"]["f1"] == pytest.approx(evaluation.summary()["drive"]["fov"]["f1"], abs=1e-6)
    assert set(written["drive"]["fov"]) >= {
        *("f1", "iou_vessel", "iou_mean", "mcc", "accuracy", "precision", "recall", "specificity"),
        *("auc_roc", "auc_pr", "loss", "mean_f1", "sd_f1"),
    }


def test_undefined_score_is_null_and_an_empty_cell(tmp_path):
    sample, levels = made(tmp_path, "drive", "01", 1, False)
    samples.write_bool(sample.path("truth"), np.zeros(levels.shape, bool))
    evaluation = Evaluation(1.0, LOSS)
    evaluation.add(sample, levels)
    assert math.isnan(evaluation.summary()["drive"]["fov"]["f1"])
    evaluation.write(tmp_path)
    assert json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["drive"]["fov"]["f1"] is None
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["f1"] == ""
