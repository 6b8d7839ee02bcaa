"""Refuse a change that makes scores worse: `python -m src.regression --against main`.

What both sides committed is compared, read by git; nothing runs again. Exit codes:

0: no gated score is worse, and all are there.
1: the later side is at fault: a score fell, is missing or undefined; a test set is missing, or its photographs or truth
   are others; the rule for the threshold is another; its metrics are not those of its own dvc.lock, code, parameters.
2: there is nothing to judge: no such revision, a file missing or unreadable, a wrong section `regression`, metrics of
   the earlier side that are not those of its dvc.lock, no gated score there, or one that neither side has.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from src import comparison, files, freshness, reported, revisions, tables
from src.markdown import interval, number, table
from src.params import Regression, load_regression
from src.revisions import Tree

SCORES = Path("metrics/scores.json")
TABLES = (comparison.TABLE, SCORES)
TEST = "data/raw/test"  # photographs and truth of all test sets
OBSERVER = "model"
POOLED = "pooled_"
BY_WIDTH = ("_thin", "_middle", "_thick")  # ends of the names of scores that `evaluate.widths` defines
FAIL = "fail: "
ROUNDING = 1e-9  # of differences between numbers of six digits
HEAD = ("test set", "score", "before", "after", "difference", "95 % interval", "verdict")


class Side(NamedTuple):
    """What one side committed: the tables of metrics/, and the dvc.lock that says how they were made."""

    name: str
    images: pd.DataFrame
    scores: dict
    lock: freshness.Lock

    def evaluate(self, key: str) -> object:
        """The parameter of section `evaluate` that the scores were made with.

        Raises:
            ValueError: dvc.lock does not say.
        """
        section = self.lock.params(SCORES.as_posix(), "evaluate")
        if not isinstance(section, dict) or key not in section:
            raise ValueError(f"{self.name}: expected evaluate.{key} in {freshness.LOCK} for {SCORES}, found none")
        return section[key]


class Row(NamedTuple):
    """A gated score of one test set, the difference after - before, its interval (NaN: none), and the verdict."""

    dataset: str
    score: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    verdict: str


class Result(NamedTuple):
    """The rows, and a sentence for each reason to fail that is not of one score."""

    rows: list[Row]
    reasons: list[str]

    def failed(self) -> bool:
        """Whether there is any reason to fail."""
        return bool(self.reasons) or any(row.verdict.startswith(FAIL) for row in self.rows)


def read(tree: Tree) -> Side:
    """What a tree committed.

    Raises:
        ValueError: a file is missing or is no such file.
    """
    images = tables.parse(tree.text(comparison.TABLE), tree.called(comparison.TABLE), tables.PER_IMAGE)
    scores = files.parse_json(tree.text(SCORES), tree.called(SCORES))
    return Side(tree.name, images, scores, freshness.lock(tree))


def widened(gate: Regression, slack: float) -> Regression:
    """The gate with every tolerance times `slack`."""
    return gate.model_copy(update={"scores": {score: slack * most for score, most in gate.scores.items()}})


def check(tree: Tree, against: Tree, gate: Regression) -> Result:
    """The verdict on `tree`, with the reasons why its metrics are not those of its own dvc.lock, code and parameters.

    Of `against`, only the metrics must be those of its dvc.lock: what was once measured stays a measure.

    Raises:
        ValueError: there is nothing to judge, and why.
    """
    before, after = read(against), read(tree)
    altered = freshness.altered(against, before.lock, TABLES)
    if altered:
        raise ValueError(altered[0])
    result = compare(before, after, gate)
    reasons, stale = freshness.altered(tree, after.lock, TABLES), freshness.stale(tree, after.lock)
    if stale:
        reasons.append(f"{tree.name}: expected scores of its code and parameters, got stale stages {', '.join(stale)}")
    return Result(result.rows, reasons + result.reasons)


def compare(before: Side, after: Side, gate: Regression) -> Result:
    """The verdict on every gated score of every test set; a test set that only `after` has is new, and passes.

    Raises:
        ValueError: the gate names an unknown score or one that no side has, or `before` has no gated score.
    """
    _refuse_unknown_scores(gate)
    old, new = (comparison.select(side.images, gate.region, OBSERVER) for side in (before, after))
    rows, reasons = [], _other_rules(before, after, same_sets=set(old["dataset"]) == set(new["dataset"]))
    for dataset in dict.fromkeys([*old["dataset"], *new["dataset"]]):
        try:
            pair = _pair(dataset, old, new)
        except ValueError as error:
            reasons.append(str(error))
            continue
        for score in gate.scores:
            pooled = score.startswith(POOLED)
            row = _pooled(dataset, score, before, after, gate) if pooled else _paired(dataset, score, *pair, gate)
            rows.append(_fail_other_widths(row, before, after))
    if old.empty or (rows and all(math.isnan(row.before) for row in rows)):
        raise ValueError(f"{before.name}: expected {', '.join(gate.scores)} of the model, {gate.region}; found none")
    _refuse_scores_of_no_side(rows, gate)
    return Result(rows, reasons)


def judge(before: float, after: float, ends: tuple[float, float], tolerance: float, lower: bool) -> str:
    """The verdict on one score: it fails when it is worse by more than `tolerance` and the interval does not hold 0.

    Without an interval (NaN) the tolerance alone decides. `lower` says that the lower score is the better.

    >>> judge(0.82, 0.81, (-0.012, -0.008), 0.005, lower=False)
    'fail: worse by more than 0.005'
    >>> judge(0.82, 0.81, (-0.022, 0.002), 0.005, lower=False), judge(0.82, 0.83, (0.008, 0.012), 0.005, lower=False)
    ('pass: the interval holds 0', 'pass')
    """
    if math.isnan(before):
        return "undefined" if math.isnan(after) else "new"
    if math.isnan(after):
        return f"{FAIL}undefined"
    if (after - before if lower else before - after) <= tolerance + ROUNDING:
        return "pass"
    low, high = ends
    return "pass: the interval holds 0" if low <= 0 <= high else f"{FAIL}worse by more than {tolerance:g}"


def as_markdown(result: Result, before: str, after: str) -> str:
    """The verdict in Markdown: the table, the reasons that are not of one score, and the sum."""
    cells = (
        [
            f"`{row.dataset}`", _label(row.score), number(row.before), number(row.after),
            number(row.difference, sign=True), interval(row.low, row.high, sign=True), row.verdict,
        ]
        for row in result.rows
    )  # fmt: skip
    parts = [f"## Regression gate: {after} against {before}", table(HEAD, cells)]
    if result.reasons:
        parts.append("\n".join(f"- {FAIL}{reason}" for reason in result.reasons))
    return "\n\n".join([*parts, f"**{'Fail' if result.failed() else 'Pass'}**"])


def _pair(dataset: str, old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of a test set on both sides, by id; those of a new one have no scores before."""
    if dataset not in set(new["dataset"]):
        raise ValueError(f"{dataset}: expected the test set on both sides, got it before only")
    if dataset not in set(old["dataset"]):
        old = new[[*comparison.KEY, "group", *comparison.COUNTS]]
    return comparison.matched(dataset, old, new)


def _paired(dataset: str, score: str, old: pd.DataFrame, new: pd.DataFrame, gate: Regression) -> Row:
    """The row of a mean over images."""
    missing = score not in new
    old, new = (values if score in values else values.assign(**{score: math.nan}) for values in (old, new))
    found = comparison.paired(dataset, score, old, new, gate.draws, gate.seed)
    means = (found.old, found.new) if found.images else (float(old[score].mean()), float(new[score].mean()))
    lost = list(new.index[old[score].notna() & new[score].isna()])
    if missing:
        verdict = f"{FAIL}missing"
    elif lost:
        verdict = f"{FAIL}undefined for {lost[0]} and {len(lost) - 1} more"
    else:
        lower = reported.SCORES[score].lower
        verdict = judge(*means, (found.low, found.high), gate.scores[score], lower)
    return Row(dataset, score, *means, found.difference, found.low, found.high, verdict)


def _pooled(dataset: str, score: str, before: Side, after: Side, gate: Regression) -> Row:
    """The row of a score of all pixels; no image has it, so that it has no interval."""
    name, none = score.removeprefix(POOLED), (math.nan, math.nan)
    values = [_look_up(side, dataset, gate.region, name) for side in (before, after)]
    known = [math.nan if value is None else value for value in values]
    verdict = judge(*known, none, gate.scores[score], reported.SCORES[name].lower)
    return Row(dataset, score, *known, known[1] - known[0], *none, f"{FAIL}missing" if values[1] is None else verdict)


def _look_up(side: Side, dataset: str, region: str, name: str) -> float | None:
    """A score of scores.json; NaN where it is null, None where it is missing."""
    value: object = side.scores
    for key in (dataset, region, name):
        if not isinstance(value, dict) or key not in value:
            return None
        value = value[key]
    if value is None:
        return math.nan
    if not isinstance(value, int | float) or abs(value) > tables.LARGEST:
        raise ValueError(f"{side.name}: {SCORES}: {dataset}.{region}.{name}: expected a number, got {value!r:.40}")
    return float(value)


def _other_rules(before: Side, after: Side, same_sets: bool) -> list[str]:
    """A sentence for each rule of scoring that the sides do not share."""
    rules, reasons = [side.evaluate("threshold") for side in (before, after)], []
    if rules[0] != rules[1]:
        reasons.append(f"evaluate.threshold: expected {_shown(rules[0])} as before, got {_shown(rules[1])}")
    tests = [side.lock.outs().get(TEST) for side in (before, after)]
    if same_sets and tests[0] != tests[1]:
        reasons.append(f"{TEST}: expected photographs and truth as before (md5 {tests[0]}), got others ({tests[1]})")
    return reasons


def _fail_other_widths(row: Row, before: Side, after: Side) -> Row:
    """The row; failed where its score depends on `evaluate.widths` and those are not the same."""
    if not row.score.endswith(BY_WIDTH) or row.verdict.startswith(FAIL) or math.isnan(row.before):
        return row
    widths = [side.evaluate("widths") for side in (before, after)]
    if widths[0] == widths[1]:
        return row
    return row._replace(verdict=f"{FAIL}evaluate.widths {_shown(widths[0])} before, {_shown(widths[1])} after")


def _refuse_unknown_scores(gate: Regression) -> None:
    known = [name for name in reported.SCORES if name not in comparison.OWN]
    for score in gate.scores:
        if score.removeprefix(POOLED) not in known:
            expected = f"expected one of {', '.join(known)}, or {POOLED} before it"
            raise ValueError(f"params.yaml: regression.scores: {expected}, got {score!r}")


def _refuse_scores_of_no_side(rows: list[Row], gate: Regression) -> None:
    """Refuse a gate that lets a score pass which is nowhere defined, such as clDice on the full image."""
    found = {row.score for row in rows if not (math.isnan(row.before) and math.isnan(row.after))}
    for score in {row.score: None for row in rows}:
        if score not in found:
            raise ValueError(
                f"params.yaml: regression.scores: expected scores of {gate.region}, got {score!r} of no side"
            )


def _label(score: str) -> str:
    label = reported.SCORES[score.removeprefix(POOLED)].label
    return f"{label}, pooled" if score.startswith(POOLED) else label


def _shown(value: object) -> str:
    return json.dumps(value, default=str)  # YAML has dates


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 where nothing failed, 1 where something did, 2 with one sentence where there is none."""
    parser = argparse.ArgumentParser(prog="python -m src.regression", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--against", default="main", help="git revision or DVC experiment (default: main)")
    parser.add_argument("--of", help="likewise (default: the working tree)")
    parser.add_argument("--slack", type=float, default=1.0, help="factor of all tolerances, say for another processor")
    given = parser.parse_args(arguments)
    if not 0 < given.slack < math.inf:
        parser.error(f"--slack: expected a positive factor, got {given.slack}")
    try:
        gate, against = widened(load_regression(), given.slack), revisions.find(given.against)
        tree = revisions.WORKING if given.of is None else revisions.find(given.of)
        result = check(tree, against, gate)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(as_markdown(result, f"`{against.name}`", tree.name if given.of is None else f"`{tree.name}`"))
    return int(result.failed())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
