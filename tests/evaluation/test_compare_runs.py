import json
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from src.common import atomic_io
from src.evaluation import compare_runs, paired_scores

COLUMNS = ["dataset", "id", "group", "observer", "region", "tp", "fp", "fn", "tn", "f1", "loss", "hausdorff"]
F1 = np.round(np.random.default_rng(1).uniform(0.7, 0.9, 12), 6)
BETTER = F1 + np.linspace(0.009, 0.011, 12)  # no ties, which slow down the test of Wilcoxon


def write(path: Path, f1: np.ndarray = F1, dataset: str = "drive", vessel: int = 50) -> Path:
    rows = [
        [dataset, f"{n:02d}", f"patient-{n}", "model", "fov", vessel - 10, 5, 10, 95 - vessel, f1[n], 1 - f1[n], ""]
        for n in range(len(f1))
    ]
    atomic_io.write_rows(path, [COLUMNS, *rows])
    return path


def compared(old: Path, new: Path) -> dict[str, paired_scores.ScoreComparison]:
    rows = compare_runs.compare(
        compare_runs.read_run(str(old)), compare_runs.read_run(str(new)), "fov", "model", 1000, 1
    )
    return {row.score: row for row in rows}


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """A git repository with two commits of the table, and the second one as a DVC experiment."""
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet", "--initial-branch", "main")
    for name, f1 in (("first", F1), ("second", BETTER)):
        write(tmp_path / compare_runs.PER_IMAGE, f1)
        git("add", ".")
        git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", name)
    git("update-ref", "refs/exps/ab/cdef/better", "HEAD")
    return tmp_path


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True)


def test_difference_is_new_minus_old_image_by_image(tmp_path):
    later = F1 + np.linspace(-0.01, 0.03, 12)
    row = compared(write(tmp_path / "a.csv"), write(tmp_path / "b.csv", later))["f1"]
    assert row.difference.mean == pytest.approx(0.01)
    assert (row.old, row.new) == pytest.approx((F1.mean(), later.mean()))
    assert row.difference.p == pytest.approx(stats.wilcoxon(later, F1).pvalue)
    assert row.difference[4:] == (9, 3, 12, 12)
    assert row.difference.low < 0.01 < row.difference.high


def test_loss_which_each_run_defines_is_not_compared(tmp_path):
    assert "loss" not in compared(write(tmp_path / "a.csv"), write(tmp_path / "b.csv", BETTER))


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [("--resamples", "0", "a number from 100 to 1000000"), ("--seed", "-1", "a number from 0 to 4294967295")],
)
def test_number_out_of_range_is_rejected(tmp_path, capsys, option, value, expected):
    path = str(write(tmp_path / "a.csv"))
    with pytest.raises(SystemExit) as ended:
        compare_runs.main([path, path, f"{option}={value}"])
    assert ended.value.code == 2
    assert f"{option}: expected {expected}, got {value}" in capsys.readouterr().err


def test_score_that_no_image_has_is_left_out(tmp_path):
    assert set(compared(write(tmp_path / "a.csv"), write(tmp_path / "b.csv"))) == {"f1"}


def test_folder_stands_for_its_table(tmp_path):
    write(tmp_path / "per_image.csv")
    assert compared(tmp_path, tmp_path)["f1"].difference.mean == 0


@pytest.mark.parametrize("new", ["HEAD", "main", "better"])
def test_revisions_and_experiments_are_read_from_git(project, new):
    (project / compare_runs.PER_IMAGE).unlink()  # what the working tree holds does not count
    rows = compare_runs.compare(compare_runs.read_run("HEAD~1"), compare_runs.read_run(new), "fov", "model", 1000, 1)
    assert {row.score: row.difference.mean for row in rows}["f1"] == pytest.approx(0.01)


def test_experiment_name_used_twice_is_rejected(project):
    git("update-ref", "refs/exps/ab/ffff/better", "HEAD~1")
    with pytest.raises(ValueError, match=r"better: .*found 2 experiments of that name"):
        compare_runs.read_run("better")


def test_unknown_run_and_missing_table_are_named(project):
    with pytest.raises(ValueError, match=r"nothing: expected a per_image\.csv, a git revision or an experiment"):
        compare_runs.read_run("nothing")
    git("rm", "--quiet", "-r", "metrics")
    git("-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "--quiet", "-m", "none")
    with pytest.raises(ValueError, match=r"HEAD: expected a committed metrics.per_image\.csv"):
        compare_runs.read_run("HEAD")


def test_id_that_looks_like_a_number_or_like_nothing_stays_text(tmp_path):
    atomic_io.write_rows(tmp_path / "a.csv", [COLUMNS, *(["drive", id_, id_, "model", "fov", 1, 2, 3, 4, 0.5, 0.5, 1]
                                                     for id_ in ("01", "NA", "1e3"))])  # fmt: skip
    assert compare_runs.read_run(str(tmp_path / "a.csv"))["id"].tolist() == ["01", "NA", "1e3"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"dataset": "stare"}, "expected a test set with scores of model, fov, in both; got drive and stare"),
        ({"f1": F1[:11]}, "drive: expected the same images, got 11 and 0 more in one only"),
        ({"vessel": 51}, "drive/00: expected 50 pixels of vessel in both, got 51"),
    ],
)
def test_runs_that_cannot_be_paired_are_rejected(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        compared(write(tmp_path / "a.csv"), write(tmp_path / "b.csv", **changed))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "expected the columns dataset, observer"),
        ("dataset,id\ndrive,1\n", "expected the columns observer"),
        (
            ",".join(COLUMNS) + "\n" + "drive,1,g,model,fov,1,2,3,4,.5,.5,1\n" * 2,
            "expected each row once, got drive/model/fov/1 twice",
        ),
        (",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2,3,4,good,.5,1\n", "f1: expected finite numbers, got 'good'"),
        (
            ",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2,3,4,.5,.5,1,9\n",
            "expected 12 cells in every row, got 13 in row 1",
        ),
        (",".join([*COLUMNS, "f1"]) + "\n", "expected each column once, got 'f1' twice"),
        (",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2,3,4,inf,.5,1\n", "f1: expected finite numbers, got 'inf'"),
        (
            ",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2.5,3,4,.5,.5,1\n",
            "fp: expected whole numbers .*, got '2.5'",
        ),
        (",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2,-3,4,.5,.5,1\n", "fn: expected whole numbers .*, got '-3'"),
        (",".join(COLUMNS) + "\ndrive,1,g,model,fov,1,2,3,,.5,.5,1\n", "tn: expected whole numbers from 0, got ''"),
    ],
)
def test_invalid_table_is_named(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=f"a.csv: {message}"):
        compare_runs.read_run(str(path))


def test_table_that_is_no_text_is_named(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"a\.csv: expected a text in UTF-8, got") as caught:
        compare_runs.read_run(str(tmp_path / "a.csv"))
    assert type(caught.value) is ValueError


def test_formats_hold_the_same_numbers(tmp_path, capsys):
    old, new = write(tmp_path / "a.csv"), write(tmp_path / "b.csv", BETTER)
    printed = {}
    for kind in compare_runs.FORMATS:
        assert compare_runs.main([str(old), str(new), "--format", kind, "--resamples", "500"]) == 0
        printed[kind] = capsys.readouterr().out
    rows = {row["score"]: row for row in json.loads(printed["json"])}
    assert rows["f1"]["difference"] == pytest.approx(0.01)
    assert "| F1 (Dice) | " in printed["markdown"]
    for kind in ("text", "markdown"):
        assert "+0.0100" in printed[kind]


def test_test_set_of_one_run_is_named(tmp_path, capsys):
    old, new = write(tmp_path / "a.csv"), write(tmp_path / "b.csv")
    _, *rows = write(tmp_path / "c.csv", dataset="stare").read_text(encoding="utf-8").splitlines()
    with old.open("a", encoding="utf-8") as file:
        file.write("\n".join(rows) + "\n")
    assert compare_runs.main([str(old), str(new), "--resamples", "500"]) == 0
    assert capsys.readouterr().err == "warning: stare is left out, as only one run has it\n"


def test_unusable_run_ends_with_2_and_a_message(tmp_path, capsys):
    assert compare_runs.main([str(tmp_path / "no.csv"), str(write(tmp_path / "a.csv"))]) == 2
    assert re.match("error: .*no.csv: expected a per_image.csv", capsys.readouterr().err)
