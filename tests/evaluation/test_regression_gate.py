import contextlib
import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from src.evaluation import (
    compare_runs,
    gate_inputs,
    gate_report,
    gate_verdict,
    git_revisions,
    paired_scores,
    pipeline_status,
    regression_gate,
)
from src.evaluation.result_tables import FORMATS
from src.params import load_regression_gate

KEPT = Path("metrics/experiments/drive_18_ensemble").resolve()  # real rows: 20 images of DRIVE, 28 of CHASE_DB1
PARAMS = Path("params.yaml").resolve()
GATED = load_regression_gate().tolerances
TEXTS = dict.fromkeys((*FORMATS["per_image.csv"].key, "group"), str)


def git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@example.org", *arguments], check=True)


def commit() -> None:
    git("add", ".")
    git("commit", "--quiet", "-m", "scores")


def write_lock(test: str = "a" * 32, **evaluate: object) -> None:
    """A dvc.lock of one stage that wrote the tables which are there."""
    tables = [path for path in gate_inputs.TABLES if path.exists()]
    outs = [{"path": str(path), "md5": hashlib.md5(path.read_bytes()).hexdigest()} for path in tables]
    params = {"params.yaml": {"evaluate": {"threshold": None, "width_limits": [2.5, 5.5]} | evaluate}}
    stage = {"cmd": "false", "params": params, "outs": [*outs, {"path": gate_inputs.TEST_DATA, "md5": f"{test}.dir"}]}
    pipeline_status.LOCK.write_text(yaml.safe_dump({"stages": {"evaluate": stage}}), encoding="utf-8")


def change(edit: Callable[[pd.DataFrame], pd.DataFrame | None]) -> None:
    """Edit the model's rows of the field of view in per_image.csv; its stage wrote it so."""
    table = pd.read_csv(gate_inputs.PER_IMAGE, dtype=TEXTS)
    gated = paired_scores.select(table, "fov", "model").copy()
    changed = edit(gated)
    others = table.drop(index=gated.index)
    pd.concat([gated if changed is None else changed, others]).to_csv(gate_inputs.PER_IMAGE, index=False)
    write_lock()


def add(**changes: float | np.ndarray) -> None:
    change(lambda table: table.assign(**{score: table[score] + by for score, by in changes.items()}))


def change_pooled(edit: Callable[[pd.DataFrame, pd.Series], pd.DataFrame]) -> None:
    """Edit summary.csv, given where the model's F1 on DRIVE stands; its stage wrote it so."""
    table = pd.read_csv(gate_inputs.SUMMARY)
    row = (table["dataset"] == "drive") & (table["region"] == "fov") & (table["score"] == "f1")
    edit(table, row & (table["observer"] == "model")).to_csv(gate_inputs.SUMMARY, index=False)
    write_lock()


def add_pooled(by: float) -> None:
    change_pooled(lambda table, row: table.assign(pooled=table["pooled"].where(~row, table["pooled"] + by)))


def edit_gate(**changes: object) -> None:
    values = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    values["regression_gate"] |= changes
    Path("params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Path:
    """A git repository whose branch main holds the scores of a real run, to be copied."""
    folder = tmp_path_factory.mktemp("repository")
    with contextlib.chdir(folder):
        git("init", "--quiet", "--initial-branch", "main")
        for path in gate_inputs.TABLES:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((KEPT / path.name).read_bytes())
        Path("params.yaml").write_bytes(PARAMS.read_bytes())
        write_lock()
        commit()
    return folder


@pytest.fixture
def project(repository, tmp_path, monkeypatch) -> Path:
    """A copy of the repository, to work in; DVC is not asked."""
    shutil.copytree(repository, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline_status, "stale_stages", lambda tree: [])
    return tmp_path


@pytest.fixture
def gate(project, capsys) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = regression_gate.main([*arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def stale_stages(after: list[str], before: list[str] | ValueError) -> Callable[[git_revisions.FileTree], list[str]]:
    """What replaces DVC's answer for the working tree, and for the earlier side."""

    def find(tree: git_revisions.FileTree) -> list[str]:
        found = after if tree == git_revisions.WORKING else before
        if isinstance(found, ValueError):
            raise found
        return found

    return find


def failures(table: str) -> dict[tuple[str, str], str]:
    """The verdicts that are no pass, by test set and score."""
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| `")]
    return {(line[0].strip("`"), line[1]): line[-1] for line in cells if "fail" in line[-1]}


def test_same_scores_pass(gate):
    code, out, err = gate()
    assert (code, err) == (0, "")
    assert out.startswith("## Regression gate: the working tree against `main`\n")
    assert out.endswith("**Pass**\n")


def test_loss_of_a_hundredth_on_every_image_fails(gate):
    add(f1=-0.01)
    code, out, _ = gate("--against", "main")
    assert code == 1
    verdict = f"fail: worse by more than {GATED['f1']:g}"
    assert failures(out) == {("drive", "F1 (Dice)"): verdict, ("chase_db1", "F1 (Dice)"): verdict}
    assert out.endswith("**Fail**\n")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_as_of_another_seed_passes(gate, seed):
    rng = np.random.default_rng(seed)
    add(**{score: rng.normal(0, by, 48) for score, by in GATED.items() if not score.startswith("pooled_")})
    assert gate()[0] == 0


def test_loss_that_may_be_chance_passes(gate):
    add(f1=-0.01 + np.tile([-0.1, -0.1, 0.1, 0.1], 12))  # both images of a patient alike
    code, out, _ = gate()
    assert code == 0
    assert out.count("pass: the interval includes 0") == 2


def test_certain_loss_within_the_tolerance_passes(gate):
    add(f1=-0.9 * GATED["f1"])
    assert gate()[0] == 0


@pytest.mark.parametrize(("factor", "code"), [("2.5", 0), ("1.5", 1)])
def test_tolerance_factor_widens_every_tolerance(gate, factor, code):
    add(f1=-2 * GATED["f1"])
    assert gate("--tolerance-factor", factor)[0] == code


@pytest.mark.parametrize("factor", ["0", "-1", "nan", "inf"])
def test_tolerance_factor_that_is_not_positive_is_rejected(gate, factor):
    with pytest.raises(SystemExit, match="2"):
        gate("--tolerance-factor", factor)


def test_gain_passes(gate):
    add(f1=0.05, hausdorff_95=-2 * GATED["hausdorff_95"])
    assert gate()[0] == 0


def test_score_of_which_less_is_better_fails_where_it_rises(gate):
    add(hausdorff_95=2 * GATED["hausdorff_95"])
    code, out, _ = gate()
    assert code == 1
    assert ("drive", "Hausdorff distance, 95th percentile") in failures(out)


@pytest.mark.parametrize(("by", "code"), [(-0.02, 1), (-0.009, 0), (0.02, 0)])
def test_pooled_score_is_judged_by_the_tolerance_alone(gate, by, code):
    add_pooled(by)
    found, out, _ = gate()
    assert found == code
    assert (("drive", "F1 (Dice), pooled") in failures(out)) is bool(code)


def test_tolerance_decides_where_patients_are_too_few_for_an_interval(gate):
    change(lambda table: table.groupby("dataset").head(3))
    commit()
    add(f1=-0.01 + np.tile([-0.1, 0.1, 0.0], 2))
    code, out, _ = gate()
    assert code == 1
    assert ("drive", "F1 (Dice)") in failures(out)


def test_any_revision_and_experiment_can_stand_on_either_side(gate):
    add(f1=-0.01)
    commit()
    git("update-ref", "refs/exps/ab/cdef/worse", "HEAD")
    git("reset", "--quiet", "--hard", "HEAD~1")
    assert gate("--against", "main")[0] == 0
    assert gate("--against", "worse")[0] == 0
    code, out, _ = gate("--against", "main", "--of", "worse")
    assert code == 1
    assert out.startswith("## Regression gate: `worse` against `main`\n")


def some(column: str, value: object, ids: tuple[str, ...] = ("01", "02")) -> Callable[[], None]:
    def edit(table: pd.DataFrame) -> None:
        table.loc[(table["dataset"] == "drive") & table["id"].isin(ids), column] = value

    return lambda: change(edit)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (
            lambda: change(lambda table: table[table["dataset"] != "drive"]),
            "drive: expected the test set on both sides",
        ),
        (
            lambda: change(lambda table: table.replace({"dataset": {"drive": "stare"}})),
            "drive: expected the test set on both sides, got it before only",
        ),
        (
            lambda: change(lambda table: table.replace({"dataset": {"drive": "stare", "chase_db1": "hrf"}})),
            "chase_db1: expected the test set on both sides, got it before only",
        ),
        (
            lambda: change(lambda table: table[table["observer"] == "none"]),
            "drive: expected the test set on both sides",
        ),
        (
            lambda: change(lambda table: table[table["id"] != "01"]),
            "drive: expected the same images, got 01 and 0 more in one only",
        ),
        (some("id", "21", ids=("01",)), "drive: expected the same images, got 01 and 1 more in one only"),
        (some("fn", 1), "drive/01: expected [0-9]+ pixels of vessel in both, got"),
        (some("tn", 1), "drive/01: expected [0-9]+ pixels of background in both, got"),
        (lambda: write_lock(threshold=0.5), "evaluate.threshold: expected null as before, got 0.5"),
        (lambda: write_lock(logit_adjustment=True), "evaluate.logit_adjustment: expected false as before, got true"),
        (lambda: write_lock(hysteresis_threshold=0.8), "hysteresis_threshold: expected null as before, got 0.8"),
        (lambda: write_lock(thin_vessel_extension=0.7), "thin_vessel_extension: expected 0.0 as before, got 0.7"),
        (lambda: write_lock(test="b" * 32), "data/raw/test: expected images and ground truth as before"),
    ],
)
def test_scores_that_cannot_be_compared_fail_with_the_reason(gate, fault, message):
    fault()
    code, out, err = gate()
    assert (code, err) == (1, "")
    lines = [line for line in out.splitlines() if line.startswith("- fail: ")]
    assert any(pd.Series(lines).str.contains(message)), out
    assert out.endswith("**Fail**\n")


@pytest.mark.parametrize(
    ("fault", "score", "verdict"),
    [
        (
            lambda: change(lambda table: table.assign(f1=np.nan)),
            "F1 (Dice)",
            "undefined for 01 and 19",
        ),
        (some("f1", np.nan, ids=("07",)), "F1 (Dice)", "undefined for 07 and 0 more"),
        (
            lambda: write_lock(width_limits=[2.0, 5.5]),
            "recall, thin vessels",
            "evaluate.width_limits [2.5, 5.5] before, [2.0, 5.5] a",
        ),
    ],
)
def test_score_that_is_gone_or_means_another_thing_fails(gate, fault, score, verdict):
    fault()
    code, out, _ = gate()
    assert code == 1
    assert {place[1] for place in failures(out)} == {score}
    assert failures(out)["drive", score].startswith(f"fail: {verdict}")


def test_missing_column_fails(gate):
    table = pd.read_csv(gate_inputs.PER_IMAGE, dtype=TEXTS)
    table.drop(columns="cldice").to_csv(gate_inputs.PER_IMAGE, index=False)
    write_lock()
    code, out, _ = gate()
    assert code == 1
    assert failures(out) == {("drive", "clDice"): "fail: missing", ("chase_db1", "clDice"): "fail: missing"}


@pytest.mark.parametrize(("value", "verdict"), [(None, "fail: undefined"), ("none", "fail: missing")])
def test_pooled_score_that_is_undefined_or_missing_fails(gate, value, verdict):
    if value == "none":
        change_pooled(lambda table, row: table[~row])
    else:
        change_pooled(lambda table, row: table.assign(pooled=table["pooled"].mask(row)))
    code, out, _ = gate()
    assert code == 1
    assert failures(out) == {("drive", "F1 (Dice), pooled"): verdict}


def test_score_and_test_set_that_were_not_there_before_are_new(gate):
    change(lambda table: table.assign(cldice=np.nan))
    commit()
    stare = {"dataset": {"drive": "stare"}}
    change_pooled(lambda table, row: pd.concat([table, table[table["dataset"] == "drive"].replace(stare)]))
    change(lambda table: pd.concat([table, table[table["dataset"] == "drive"].replace(stare)]).assign(cldice=0.8))
    code, out, _ = gate()
    assert code == 0
    assert "| `drive` | clDice | - | 0.8000 | - | - | 0.02 | new |" in out
    assert len([line for line in out.splitlines() if line.startswith("| `stare` |") and "| new |" in line]) == len(
        GATED
    )


def test_score_that_neither_side_has_of_a_test_set_is_undefined(gate):
    change(lambda table: table.assign(cldice=table["cldice"].where(table["dataset"] != "drive")))
    commit()
    code, out, _ = gate()
    assert code == 0
    assert "| `drive` | clDice | - | - | - | - | 0.02 | undefined |" in out


def test_metrics_that_were_edited_by_hand_fail(gate):
    add(f1=0.1)
    git("checkout", "--quiet", "dvc.lock")
    code, out, _ = gate()
    assert code == 1
    assert "- fail: metrics/per_image.csv: expected md5 " in out


def test_stale_stages_are_named(gate, monkeypatch):
    monkeypatch.setattr(pipeline_status, "stale_stages", stale_stages(after=["evaluate", "plot"], before=[]))
    code, out, _ = gate()
    assert code == 1
    assert (
        "- fail: the working tree: expected scores of its code and parameters, got stale stages evaluate, plot\n" in out
    )


@pytest.mark.parametrize(
    ("before", "end"),
    [
        (["evaluate", "plot"], "; main is stale in the same stages, too"),
        (["train", "plot"], "; main is stale in plot, too"),
        (["train"], ""),
        (ValueError("DVC cannot tell"), ""),
    ],
)
def test_stages_that_were_stale_before_are_named(gate, monkeypatch, before, end):
    monkeypatch.setattr(pipeline_status, "stale_stages", stale_stages(after=["evaluate", "plot"], before=before))
    code, out, _ = gate()
    assert code == 1
    assert f"got stale stages evaluate, plot{end}\n" in out


def notes(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("- note: ")]


def test_tolerances_are_shown_and_what_differs_from_the_earlier_side_is_named(gate):
    edit_gate(tolerances={"f1": 0.025, "auc_pr": 0.005, "recall": 0.01})
    add(f1=-0.01)
    removed = "; ".join(f"{score} removed" for score in GATED if score not in ("f1", "auc_pr"))
    code, out, _ = gate()
    assert code == 0
    assert re.search(r"\| `drive` \| F1 \(Dice\) \|.* \| 0.025 \| pass \|", out)
    assert notes(out) == [f"- note: tolerances differ from main: f1 0.005 -> 0.025; {removed}; recall 0.01 added"]


def test_tolerance_factor_is_in_the_column_and_is_no_difference(gate):
    code, out, _ = gate("--tolerance-factor", "3")
    assert code == 0
    assert re.search(r"\| `drive` \| F1 \(Dice\) \|.* \| 0.015 \| pass \|", out)
    assert notes(out) == []


def test_other_settings_that_differ_from_the_earlier_side_are_named(gate):
    edit_gate(bootstrap_resamples=200)
    assert notes(gate()[1]) == ["- note: regression_gate differs from main: bootstrap_resamples 5000 -> 200"]


@pytest.mark.parametrize("content", ["regression: {}\n", "- [\n"])
def test_earlier_side_without_such_a_section_is_named(gate, content):
    Path("params.yaml").write_text(content, encoding="utf-8")
    commit()
    Path("params.yaml").write_bytes(PARAMS.read_bytes())
    code, out, _ = gate()
    assert code == 0
    assert notes(out) == [
        "- note: main has no section `regression_gate` of this version: its tolerances are not compared"
    ]


def write(path: str, content: str) -> Callable[[], None]:
    return lambda: Path(path).write_text(content, encoding="utf-8")


def altered_before() -> None:
    change_pooled(lambda table, row: table.assign(pooled=0.5))
    git("checkout", "--quiet", "dvc.lock")
    commit()


def no_gated_score_before() -> None:
    change(lambda table: table[table["observer"] == "none"])
    commit()


def no_rule_before() -> None:
    Path("dvc.lock").write_text(Path("dvc.lock").read_text().replace("threshold", "limit"), encoding="utf-8")
    commit()


def none_committed() -> None:
    git("rm", "--quiet", "--cached", "metrics/per_image.csv")
    git("commit", "--quiet", "-m", "none")


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (lambda: git("branch", "--move", "trunk"), "main: expected a git revision or an experiment, found none"),
        (none_committed, "main: expected a committed metrics/per_image.csv, found none"),
        (altered_before, "main:metrics/summary.csv: expected md5 "),
        (no_gated_score_before, "main: expected f1, mcc"),
        (no_rule_before, "main: expected evaluate.threshold in dvc.lock"),
        (lambda: Path("metrics/per_image.csv").unlink(), "metrics/per_image.csv: expected a file, found none"),
        (lambda: Path("metrics/summary.csv").unlink(), "metrics/summary.csv: expected a file, found none"),
        (lambda: Path("dvc.lock").unlink(), "dvc.lock: expected a file, found none"),
        (
            lambda: Path("metrics/summary.csv").write_bytes(b"\xff"),
            "metrics/summary.csv: expected a text in UTF-8, got invalid",
        ),
        (write("metrics/summary.csv", "[]"), "metrics/summary.csv: expected the columns dataset, observer"),
        (lambda: change_pooled(lambda table, row: table.assign(pooled="good")), "pooled: expected finite numbers, got"),
        (write("metrics/per_image.csv", "a,b\n"), "metrics/per_image.csv: expected the columns "),
        (write("dvc.lock", "<<<<<<< HEAD\nstages:\n"), "dvc.lock: expected YAML, got "),
        (lambda: Path("params.yaml").unlink(), "params.yaml"),
        (write("params.yaml", "data: {}\n"), "params.yaml: regression_gate: missing"),
        (lambda: edit_gate(tolerances={}), "params.yaml: regression_gate.tolerances"),
        (lambda: edit_gate(tolerances={"f1": -1}), "params.yaml: regression_gate.tolerances.f1: "),
        (
            lambda: edit_gate(tolerances={"dice": 0.01}),
            "params.yaml: regression_gate.tolerances: expected one of accuracy, ",
        ),
        (
            lambda: edit_gate(tolerances={"loss": 0.01}),
            "params.yaml: regression_gate.tolerances: expected one of accuracy, ",
        ),
        (
            lambda: edit_gate(region="full_image"),
            "regression_gate.tolerances: expected scores of full_image, got 'cldice', which neither side has",
        ),
        (
            lambda: edit_gate(tolerances={"pooled_cldice": 0.01}),
            "main: expected pooled_cldice of the model, fov; found none",
        ),
    ],
)
def test_invalid_input_ends_with_2_and_one_message(gate, fault, message):
    fault()
    code, out, err = gate()
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


def test_no_repository_is_unusable(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_bytes(PARAMS.read_bytes())
    assert regression_gate.main([]) == 2
    assert "main: expected a git revision or an experiment, found none" in capsys.readouterr().err


def test_markdown_has_a_row_for_each_test_set_and_score():
    row = gate_verdict.GateRow(
        "drive", "f1", 0.82, 0.81, -0.01, -0.0123, -0.0081, 0.005, "fail: worse by more than 0.005"
    )
    pooled = gate_verdict.GateRow("drive", "pooled_f1", 0.83, 0.83, 0.0, np.nan, np.nan, 0.01, "pass")
    text = gate_report.as_markdown(
        gate_verdict.GateResult([row, pooled], ["drive: a reason"], ("a note",)), "`main`", "`HEAD`"
    )
    assert text == (
        "## Regression gate: `HEAD` against `main`\n\n"
        "| test set | score | before | after | difference | 95 % interval | tolerance | verdict |\n"
        "| --- | --- | --- | --- | --- | --- | --- | --- |\n"
        "| `drive` | F1 (Dice) | 0.8200 | 0.8100 | -0.0100 | -0.0123 to -0.0081 | 0.005 "
        "| fail: worse by more than 0.005 |\n"
        "| `drive` | F1 (Dice), pooled | 0.8300 | 0.8300 | +0.0000 | - | 0.01 | pass |\n\n"
        "- fail: drive: a reason\n"
        "- note: a note\n\n"
        "**Fail**"
    )


def test_interval_is_that_of_the_comparison(project):
    add(f1=np.random.default_rng(1).normal(-0.01, 0.01, 48))
    before, after = (gate_inputs.read_run(tree) for tree in (git_revisions.find_tree("main"), git_revisions.WORKING))
    settings = load_regression_gate()
    rows = compare_runs.compare(
        before.per_image, after.per_image, "fov", "model", settings.bootstrap_resamples, settings.seed
    )
    expected = {(row.dataset, row.score): (row.old, row.new, *row.difference[:3]) for row in rows}
    for row in gate_verdict.judge_runs(before, after, settings).rows:
        assert row.score.startswith("pooled_") or row[2:7] == expected[row.dataset, row.score]


@pytest.mark.parametrize(("by", "code"), [(0.0, 0), (-0.01, 1)])
def test_json_holds_what_markdown_says(gate, by, code):
    add(f1=by)
    assert gate("--json", "out/gate.json")[0] == code
    content = json.loads(Path("out/gate.json").read_text(encoding="utf-8"))
    assert content["passed"] is not bool(code)
    assert (content["before"], content["after"], content["reasons"]) == ("main", "the working tree", [])
    row = next(row for row in content["scores"] if (row["dataset"], row["score"]) == ("drive", "f1"))
    assert row["difference"] == pytest.approx(by)
    assert row["verdict"].startswith("fail") is bool(code)
    assert next(row for row in content["scores"] if row["score"] == "pooled_f1")["low"] is None


def test_side_of_an_earlier_version_is_read(gate):
    """Scores and parameters had other names."""
    names = {"recall_medium": "recall_middle", "precision_medium": "precision_middle"}
    table = pd.read_csv(gate_inputs.PER_IMAGE, dtype=TEXTS).rename(columns=names)
    table.to_csv(gate_inputs.PER_IMAGE, index=False)
    change_pooled(lambda table, row: table.replace({"score": names}))
    write_lock()
    lock = Path("dvc.lock").read_text(encoding="utf-8")
    Path("dvc.lock").write_text(lock.replace("width_limits", "widths"), encoding="utf-8")
    commit()
    for path in gate_inputs.TABLES:
        path.write_bytes((KEPT / path.name).read_bytes())
    write_lock()
    tolerances = {"recall_medium": 0.01, "recall_thin": 0.01, "pooled_f1": 0.01}
    edit_gate(tolerances=tolerances)
    code, out, err = gate()
    assert (code, err, out.count("| pass |")) == (0, "", 2 * len(tolerances))
