import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src.common import probability_levels
from src.data import samples
from src.evaluation import evaluator
from src.evaluation.aggregation import Place, ScoreSummary
from src.evaluation.evaluator import Evaluator, ScoringRules
from src.evaluation.scoring import ImageScores, ProbabilityMap, threshold_free_scores
from src.metrics import metric_definitions, probability_metrics, structural_metrics, vessel_geometry
from src.metrics.confusion_matrix import count, scores
from src.models import losses

LOSS = losses.get("focal_dice", 0.25, 2.0, None, 0.7)
RULES = ScoringRules(threshold=0.4, loss=LOSS, width_limits=(2.5, 5.5), bootstrap_resamples=200, seed=1)


def make_sample(root: Path, dataset: str, id_: str, seed: int, second: bool) -> tuple[samples.Sample, np.ndarray]:
    """A random image on disk, and a probability map of it as levels."""
    rng = np.random.default_rng(seed)
    truth, fov, second_observer = (rng.random((30, 30)) < fraction for fraction in (0.2, 0.7, 0.2))
    image = np.zeros((30, 30, 3), np.uint8)
    labelled = samples.LabelledImage(id_, id_, image, truth, fov, second_observer if second else None)
    samples.write_labelled_image(root, dataset, labelled)
    probability = np.where(fov, np.clip(0.3 * truth + 0.6 * rng.random(truth.shape), 0, 1), 0)
    return samples.Sample(dataset, id_, id_, root / dataset), probability_levels.to_levels(probability)


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """The folder of the images of `evaluation`."""
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def evaluation(root) -> Evaluator:
    """Five images of two sets, scored; no test changes it."""
    result = Evaluator(RULES)
    for number in range(4):
        sample, levels = make_sample(root, "drive", f"{number:02d}", number, second=True)
        result.add(sample, levels, {"sato": ProbabilityMap(levels // 2, 0.2)})
    result.add(*make_sample(root, "hrf", "01_h", 9, second=False), {})
    return result


def scores_of(evaluation: Evaluator, dataset: str, observer: str) -> list[ImageScores]:
    """Those in the FOV."""
    place = dataset, observer, "fov"
    return [found for found in evaluation.scored if (found.dataset, found.observer, found.region) == place]


def summary_of(evaluation: Evaluator, place: Place) -> dict[str, ScoreSummary]:
    return {row.score: row for row in evaluation.summary() if row.place == place}


def test_every_image_observer_and_region_is_scored(evaluation):
    assert len(evaluation.scored) == 4 * 4 * 2 + 2 * 2
    found = {scored.observer for scored in evaluation.scored if scored.dataset == "drive"}
    assert found == {"model", "model_at_half", "second_observer", "sato"}


def test_every_score_is_defined_and_every_definition_is_scored(evaluation):
    assert {name for found in evaluation.scored for name in found.scores} == set(metric_definitions.SCORES)
    assert {found.observer for found in evaluation.scored} <= set(metric_definitions.OBSERVERS)


def test_map_is_scored_at_its_own_threshold(evaluation, root, tmp_path):
    sample = samples.Sample("drive", "00", "", root / "drive")
    truth, fov = samples.truth(sample), samples.fov(sample)
    _, levels = make_sample(tmp_path / "again", "drive", "00", 0, second=True)
    for observer, vessels in (
        ("model", levels / 65535 > 0.4),
        ("model_at_half", levels / 65535 > 0.5),
        ("sato", levels // 2 / 65535 > 0.2),
        ("second_observer", samples.second_observer(sample)),
    ):
        found = scores_of(evaluation, "drive", observer)[0].scores
        geometries = (vessel_geometry.measure_geometry(each, fov, RULES.width_limits) for each in (truth, vessels))
        expected = scores(count(truth, vessels, fov)) | structural_metrics.structural_scores(*geometries)
        assert {name: found[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("region", ["fov", "full_image"])
@pytest.mark.parametrize("observer", ["model", "second_observer"])
def test_pooled_score_is_that_of_all_pixels(evaluation, root, tmp_path, observer, region):
    found = [samples.Sample("drive", f"{n:02d}", "", root / "drive") for n in range(4)]
    truth, second, fov = (
        np.concatenate([read(sample) for sample in found])
        for read in (samples.truth, samples.second_observer, samples.fov)
    )
    levels = np.concatenate([make_sample(tmp_path / "again", "drive", f"{n:02d}", n, True)[1] for n in range(4)])
    vessels = {"model": levels / 65535 > 0.4, "second_observer": second}[observer]
    pixels = {"fov": fov, "full_image": np.ones_like(fov)}[region]
    expected = scores(count(truth, vessels, pixels))
    if observer == "model":
        h = probability_metrics.histogram(levels, truth, pixels)
        expected |= threshold_free_scores(h, observer, region, LOSS)
    summary = summary_of(evaluation, Place("drive", observer, region))
    assert {name: summary[name].pooled for name in expected} == pytest.approx(expected)


def test_structure_is_of_the_fov(evaluation):
    assert {row.place.region for row in evaluation.summary() if row.score == "cldice"} == {"fov"}


def test_model_is_compared_with_every_other_observer(evaluation):
    found = {row.place.observer for row in evaluation.differences()}
    assert found == {"model_at_half", "second_observer", "sato"}


def test_files_hold_the_scores_and_are_the_same_twice(evaluation, tmp_path):
    for name in ("a", "b"):
        evaluation.write(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    tables = ("curves", "differences", "uncertainty", "per_image", "reliability", "summary")
    assert names == sorted(["scores.json", *(f"{name}.csv" for name in tables)])
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [(tmp_path / "b" / n).read_bytes() for n in names]


def test_scores_file_holds_the_headline_scores_of_each_test_set(evaluation, tmp_path):
    evaluation.write(tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))
    assert list(written) == ["drive", "hrf"]
    assert list(written["hrf"]) == list(metric_definitions.HEADLINE_SCORES)
    assert list(written["drive"]) == [*metric_definitions.HEADLINE_SCORES, "second_observer_f1"]
    summary = summary_of(evaluation, Place("drive", "model", "fov"))
    assert written["drive"]["f1"] == round(summary["f1"].pooled, 6)
    assert written["drive"]["mean_cldice"] == round(summary["cldice"].interval.mean, 6)


def test_undefined_score_is_null_and_an_empty_cell(tmp_path):
    evaluation = Evaluator(RULES._replace(threshold=1.0))
    for number in range(2):
        sample, levels = make_sample(tmp_path, "drive", f"{number:02d}", 1, False)
        if number == 0:
            samples.write_bool(sample.path("truth"), np.zeros(levels.shape, bool))
        evaluation.add(sample, levels, {})
    assert math.isnan(evaluation.scored[0].scores["f1"])
    evaluation.write(tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["drive"]
    assert (written["precision"], written["f1"]) == (None, 0)
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["f1"] == ""
    summary = pd.read_csv(tmp_path / "summary.csv").query("observer == 'model' and region == 'fov'").set_index("score")
    assert summary["images"][["precision", "f1", "accuracy"]].tolist() == [0, 1, 2]


@pytest.mark.parametrize("given", [None, 0.4])
def test_threshold_is_below_that_of_hysteresis(given):
    vessel, background = np.zeros(probability_levels.LEVELS, int), np.zeros(probability_levels.LEVELS, int)
    vessel[40000], background[30000] = 1, 1  # the best threshold lies between their probabilities, .458 and .610
    validation = [probability_metrics.Histogram(vessel, background)]
    threshold = evaluator.choose_threshold(validation, given, None)
    assert threshold == given if given else 30000 / 65535 <= threshold < 40000 / 65535
    assert evaluator.choose_threshold(validation, given, 0.7) == threshold
    said = rf"^evaluate\.hysteresis_threshold: expected more than the threshold \({threshold:.4f}\), got {threshold}$"
    with pytest.raises(ValueError, match=said):
        evaluator.choose_threshold(validation, given, threshold)


def test_validation_scores_are_those_at_the_threshold(tmp_path):
    rng = np.random.default_rng(1)
    truth = rng.random((30, 30)) < 0.2
    levels, everywhere = probability_levels.to_levels(np.where(truth, 0.6, rng.random(truth.shape))), truth | True
    h = probability_metrics.histogram(levels, truth, everywhere)
    evaluator.write_validation(tmp_path, h, 0.4)
    written = json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))["validation"]
    assert list(written) == ["threshold", *metric_definitions.VALIDATION_SCORES]
    assert written["threshold"] == 0.4
    assert written["f1"] == round(scores(count(truth, levels / 65535 > 0.4, everywhere))["f1"], 6)


def test_validation_without_images_is_null(tmp_path):
    evaluator.write_validation(tmp_path, probability_metrics.EMPTY, 0.5)
    written = json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))["validation"]
    assert written == {"threshold": 0.5} | dict.fromkeys(metric_definitions.VALIDATION_SCORES)


def test_uncertainty_of_the_model_is_counted_where_it_is_wrong(tmp_path):
    evaluation = Evaluator(RULES)
    sample, levels = make_sample(tmp_path, "drive", "01", 1, second=False)
    evaluation.add(sample, levels, {}, np.full(levels.shape, 0.25))
    evaluation.write(tmp_path)
    table = pd.read_csv(tmp_path / "uncertainty.csv").set_index("uncertainty_up_to")
    row = pd.read_csv(tmp_path / "per_image.csv").query("observer == 'model' and region == 'fov'").iloc[0]
    assert table.loc[0.3, "pixels"] == table["pixels"].sum() == row[["tp", "fp", "fn", "tn"]].sum()
    assert table.loc[0.3, "errors"] == row["fp"] + row["fn"] > 0
