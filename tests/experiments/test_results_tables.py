import functools
import shutil
from pathlib import Path

import pytest
import yaml

from experiments import results_tables
from experiments.results_tables import KEPT

EXPERIMENTS = results_tables.load_experiments()
PAGE = Path("docs/results/README.md")


@pytest.fixture(scope="module")
def tables():
    return results_tables.tables()


def test_every_kept_experiment_is_listed():
    assert {path.name for path in KEPT.iterdir()} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", [path.name for path in KEPT.iterdir()])
def test_page_of_choices_says_where_the_threshold_is_from(name):
    _, table = Path("docs/results/choices.md").read_text(encoding="utf-8").split("## Thresholds")
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("|")]
    assert sum(f"`{name}`" in row for row in rows) == 1


def test_titles_are_unique():
    assert len({experiment.title for experiment in EXPERIMENTS.values()}) == len(EXPERIMENTS)


@pytest.mark.parametrize("name", [path.name for path in KEPT.iterdir()])
def test_kept_experiment_has_the_listed_parameters(name):
    kept = yaml.safe_load((KEPT / name / "params.yaml").read_text(encoding="utf-8"))  # may lack later keys
    for key, value in EXPERIMENTS[name].params.items():
        assert functools.reduce(dict.__getitem__, key.removeprefix("+").split("."), kept) == value


def test_table_has_at_most_one_row_of_the_second_observer(tables):
    for test_set, rows in tables.items():
        count = [row.experiment for row in rows].count(results_tables.SECOND_OBSERVER)
        assert count == (test_set.dataset in ("drive", "chase_db1")), test_set


def test_splits_of_a_data_set_have_tables_of_their_own(tables):
    assert {test_set.images for test_set in tables if test_set.dataset == "chase_db1"} == {8, 20, 28}


def test_row_holds_pooled_scores_and_intervals_of_means(tables):
    rows = tables[results_tables.TestSet("drive", 20)]
    row = next(row for row in rows if "`drive_16`" in row.experiment)
    assert row == results_tables.Row(
        "compact U-Net, 16 images of DRIVE (`drive_16`)",
        *("0.42 M", "15.7 min", "0.05 / 0.21 s"),
        *(
            "0.8278",
            "0.827 [0.822, 0.836]",
            "0.9807",
            "0.9140",
            "0.8026",
            "0.833 [0.816, 0.852]",
            "0.638 [0.585, 0.692]",
        ),
    )


def test_second_observers_that_differ_between_runs_are_an_error(tmp_path, monkeypatch):
    for name in ("drive_16", "drive_20_ensemble"):
        (tmp_path / name).mkdir()
        shutil.copy(KEPT / name / results_tables.SUMMARY, tmp_path / name)
    path = tmp_path / "drive_20_ensemble" / results_tables.SUMMARY
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    changed = [line.replace("0.78", "0.68", 1) if "drive,second_observer,fov,f1" in line else line for line in lines]
    path.write_text("".join(changed), encoding="utf-8")
    monkeypatch.setattr(results_tables, "KEPT", tmp_path)
    with pytest.raises(ValueError, match=r"drive_20_ensemble/summary.csv: expected the second observer's scores"):
        results_tables.tables()


def test_times_that_were_not_measured_are_left_out():
    weights, times = {"weights": 419729}, {"seconds_per_image": 0.126, "seconds_per_image_flips": 0.426}
    cells = {"weights": "0.42 M"}
    assert results_tables._format_cost(weights) == cells
    cells["inference_time"] = "0.13 / 0.43 s"
    assert results_tables._format_cost(weights | times) == cells
    cells["training_time"] = "4.2 min"
    assert results_tables._format_cost(weights | times | {"training_minutes": 4.2}) == cells
