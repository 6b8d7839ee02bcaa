import csv
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from src import intervals, losses, metrics, reported, samples, structure
from src.backend import tf
from src.counts import count, scores
from src.evaluation import Evaluation, ProbabilityMap, Rules, loss_of, write_validation

LOSS = losses.get("focal_dice", 0.25, 2.0, None, 0.7)
RULES = Rules(threshold=0.4, loss=LOSS, widths=(2.5, 5.5), draws=200, seed=1)


def made(root: Path, dataset: str, id_: str, seed: int, second: bool) -> tuple[samples.Sample, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, fov, human = (rng.random((30, 30)) < share for share in (0.2, 0.7, 0.2))
    image = np.zeros((30, 30, 3), np.uint8)
    samples.write_eye(root, dataset, samples.Eye(id_, id_, image, truth, fov, human if second else None))
    probability = np.clip(0.3 * truth + 0.6 * rng.random(truth.shape), 0, 1)
    return samples.Sample(dataset, id_, id_, root / dataset), samples.to_levels(np.where(fov, probability, 0))


@pytest.fixture
def evaluation(tmp_path) -> Evaluation:
    result = Evaluation(RULES)
    for number in range(4):
        sample, levels = made(tmp_path, "drive", f"{number:02d}", number, second=True)
        result.add(sample, levels, {"sato": ProbabilityMap(levels // 2, 0.2)})
    result.add(*made(tmp_path, "hrf", "01_h", 9, second=False), {})
    return result


def rows_of(evaluation: Evaluation, dataset: str, observer: str, region: str = "fov") -> list[dict]:
    place = dataset, observer, region
    return [row for row in evaluation.rows if (row["dataset"], row["observer"], row["region"]) == place]


def scores_of(evaluation: Evaluation) -> dict:
    return evaluation.scores(evaluation.summary())


@pytest.mark.parametrize("name", ["focal_dice", "dice", "focal", "bce", "bce_dice", "bce_tversky", "unified_focal"])
def test_loss_of_a_histogram_is_the_loss_of_the_map(tmp_path, name):
    sample, levels = made(tmp_path, "drive", "01", 1, False)
    truth, fov = samples.truth(sample), samples.fov(sample)
    loss = losses.get(name, 0.25, 2.0, None, 0.7)
    direct = loss(*(tf.constant(array, tf.float64) for array in (truth, levels / 65535, fov)))
    assert loss_of(metrics.histogram(levels, truth, fov), loss) == pytest.approx(float(direct))


def test_every_image_observer_and_region_has_a_row(evaluation):
    assert len(evaluation.rows) == 4 * 4 * 2 + 2 * 2
    found = {row["observer"] for row in evaluation.rows if row["dataset"] == "drive"}
    assert found == {"model", "model_at_half", "second_observer", "sato"}


def test_every_score_is_named_and_every_name_is_scored(evaluation):
    place = {"dataset", "id", "group", "observer", "region", "tp", "fp", "fn", "tn"}
    columns = {column for row in evaluation.rows for column in row} - place
    assert columns == set(reported.SCORES)
    assert {row["observer"] for row in evaluation.rows} <= set(reported.OBSERVERS)


def test_map_is_scored_at_its_own_threshold(evaluation, tmp_path):
    sample = samples.Sample("drive", "00", "", tmp_path / "drive")
    truth, fov = samples.truth(sample), samples.fov(sample)
    _, levels = made(tmp_path / "again", "drive", "00", 0, second=True)
    for observer, vessels in (
        ("model", levels / 65535 > 0.4),
        ("model_at_half", levels / 65535 > 0.5),
        ("sato", levels // 2 / 65535 > 0.2),
        ("second_observer", samples.second_observer(sample)),
    ):
        row = rows_of(evaluation, "drive", observer)[0]
        expected = scores(count(truth, vessels, fov))
        expected |= structure.scores(*(structure.describe(drawn, fov, RULES.widths) for drawn in (truth, vessels)))
        assert {name: row[name] for name in expected} == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("region", ["fov", "full_image"])
@pytest.mark.parametrize("observer", ["model", "second_observer"])
def test_pooled_score_is_that_of_all_pixels(evaluation, tmp_path, observer, region):
    found = [samples.Sample("drive", f"{n:02d}", "", tmp_path / "drive") for n in range(4)]
    truth, human, fov = (
        np.concatenate([read(sample) for sample in found])
        for read in (samples.truth, samples.second_observer, samples.fov)
    )
    levels = np.concatenate([made(tmp_path / "again", "drive", f"{n:02d}", n, True)[1] for n in range(4)])
    drawn = {"model": levels / 65535 > 0.4, "second_observer": human}[observer]
    pixels = {"fov": fov, "full_image": np.ones_like(fov)}[region]
    expected = scores(count(truth, drawn, pixels))
    if observer == "model":
        h = metrics.histogram(levels, truth, pixels)
        expected |= {"auc_roc": metrics.auc_roc(h), "auc_pr": metrics.auc_pr(h), "loss": loss_of(h, LOSS)}
    written = scores_of(evaluation)["drive"]
    written = (written if observer == "model" else written[observer])[region]
    assert {name: written[name] for name in expected} == pytest.approx(expected)


def test_summary_holds_mean_and_interval_over_images(evaluation):
    row = next(row for row in evaluation.summary() if (row["observer"], row["score"]) == ("second_observer", "f1"))
    values = np.array([row["f1"] for row in rows_of(evaluation, "drive", "second_observer")])
    expected = intervals.of_mean(values, np.arange(4).astype(str), RULES.draws, RULES.seed).within(0, 1)
    assert {name: row[name] for name in expected._fields} == pytest.approx(expected._asdict())


def test_structure_has_no_pooled_value_and_is_of_the_fov(evaluation):
    rows = [row for row in evaluation.summary() if row["score"] == "cldice"]
    assert {row["region"] for row in rows} == {"fov"}
    assert {row["pooled"] for row in rows} == {None}


def test_difference_is_the_model_minus_the_other(evaluation):
    rows = {(row["observer"], row["region"], row["score"]): row for row in evaluation.differences()}
    model, human = (
        np.array([row["mcc"] for row in rows_of(evaluation, "drive", name)]) for name in ("model", "second_observer")
    )
    row = rows["second_observer", "fov", "mcc"]
    assert row["mean"] == pytest.approx((model - human).mean())
    assert (row["won"], row["lost"]) == ((model > human).sum(), (model < human).sum())
    assert {observer for observer, _, _ in rows} == {"model_at_half", "second_observer", "sato"}


def test_observer_of_some_images_is_paired_with_the_model_on_these(tmp_path):
    evaluation = Evaluation(RULES)
    for number, second in enumerate([False, True, False, True, True, True]):
        evaluation.add(*made(tmp_path, "drive", f"{number:02d}", number, second), {})
    model = {row["id"]: row["f1"] for row in rows_of(evaluation, "drive", "model")}
    human = {row["id"]: row["f1"] for row in rows_of(evaluation, "drive", "second_observer")}
    rows = {(row["observer"], row["region"], row["score"]): row for row in evaluation.differences()}
    found = rows["second_observer", "fov", "f1"]
    assert found["mean"] == pytest.approx(np.mean([model[id_] - human[id_] for id_ in ("01", "03", "04", "05")]))
    assert found["images"] == 4


def test_set_without_second_observer_has_none(evaluation):
    assert "second_observer" not in scores_of(evaluation)["hrf"]
    assert scores_of(evaluation)["drive"]["second_observer"]["images"] == 4


def test_files_hold_the_scores_and_are_the_same_twice(evaluation, tmp_path):
    for name in ("a", "b"):
        evaluation.write(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    tables = ("curves", "differences", "doubt", "per_image", "reliability", "summary")
    assert names == sorted(["scores.json", *(f"{name}.csv" for name in tables)])
    assert [(tmp_path / "a" / n).read_bytes() for n in names] == [(tmp_path / "b" / n).read_bytes() for n in names]
    written = json.loads((tmp_path / "a" / "scores.json").read_text(encoding="utf-8"))
    assert written["drive"]["fov"]["f1"] == pytest.approx(scores_of(evaluation)["drive"]["fov"]["f1"], abs=1e-6)


def test_undefined_score_is_null_an_empty_cell_and_told(tmp_path):
    evaluation = Evaluation(RULES._replace(threshold=1.0))
    for number in range(2):
        sample, levels = made(tmp_path, "drive", f"{number:02d}", 1, False)
        if number == 0:
            samples.write_bool(sample.path("truth"), np.zeros(levels.shape, bool))
        evaluation.add(sample, levels, {})
    assert math.isnan(evaluation.rows[0]["f1"])
    evaluation.write(tmp_path)
    written = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["drive"]["fov"]
    assert (written["mean_precision"], written["n_precision"]) == (None, 0)
    assert (written["mean_f1"], written["n_f1"]) == (0, 1)
    with (tmp_path / "per_image.csv").open(encoding="utf-8") as file:
        assert next(csv.DictReader(file))["f1"] == ""


def test_validation_is_written_under_its_own_name(tmp_path):
    write_validation(tmp_path, {"f1": 0.81234567, "auc_roc": math.nan}, 0.4)
    written = json.loads((tmp_path / "validation.json").read_text(encoding="utf-8"))
    assert written == {"validation": {"threshold": 0.4, "f1": 0.812346, "auc_roc": None}}


def test_doubt_of_the_model_is_counted_where_it_is_wrong(tmp_path):
    evaluation = Evaluation(RULES)
    sample, levels = made(tmp_path, "drive", "01", 1, second=False)
    evaluation.add(sample, levels, {}, np.full(levels.shape, 0.25))
    evaluation.write(tmp_path)
    table = pd.read_csv(tmp_path / "doubt.csv").set_index("doubt_up_to")
    row = pd.read_csv(tmp_path / "per_image.csv").query("observer == 'model' and region == 'fov'").iloc[0]
    assert table.loc[0.3, "pixels"] == table["pixels"].sum() == row[["tp", "fp", "fn", "tn"]].sum()
    assert table.loc[0.3, "wrong"] == row["fp"] + row["fn"] > 0


def test_interval_does_not_leave_the_values_of_its_score(tmp_path):
    evaluation = Evaluation(RULES)
    for number in range(4):
        sample, levels = made(tmp_path, "drive", f"{number:02d}", number, second=False)
        evaluation.add(sample, levels, {})
    for row in evaluation.rows:
        row["recall"] = 1.0 if row["id"] == "00" else 0.999 - 0.3 * (row["id"] == "03")
    (found,) = (
        row
        for row in evaluation.summary()
        if (row["observer"], row["region"], row["score"]) == ("model", "fov", "recall")
    )
    assert found["high"] == 1.0
