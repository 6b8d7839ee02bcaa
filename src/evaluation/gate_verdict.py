"""Verdict of the regression gate on two runs: which scores are worse, missing or not comparable."""

import json
import math
from typing import NamedTuple

import pandas as pd

from src.evaluation import paired_scores
from src.evaluation.gate_inputs import LATER_KEYS, TEST_DATA, CommittedRun
from src.metrics import metric_definitions
from src.params import RegressionGate

OBSERVER = "model"
POOLED = "pooled_"
BY_WIDTH = ("_thin", "_medium", "_thick")  # ends of the names of scores that `evaluate.width_limits` defines
FAIL = "fail: "
ROUNDING = 1e-9  # of differences between numbers of six digits


class GateRow(NamedTuple):
    """A gated score of a test set: difference after - before, its interval (NaN: none), the tolerance, the verdict."""

    dataset: str
    score: str
    before: float
    after: float
    difference: float
    low: float
    high: float
    tolerance: float
    verdict: str

    @property
    def failed(self) -> bool:
        """Whether the score fails."""
        return self.verdict.startswith(FAIL)


class GateResult(NamedTuple):
    """The verdict on every score, the reasons to fail that are not of one score, and notes that fail nothing."""

    rows: list[GateRow]
    reasons: list[str]
    notes: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is any reason to fail."""
        return bool(self.reasons) or any(row.failed for row in self.rows)


def judge_runs(before: CommittedRun, after: CommittedRun, gate: RegressionGate) -> GateResult:
    """Judge every gated score of every test set; a test set that only `after` has is new, and passes.

    Raises:
        ValueError: the gate names a score that is unknown or that neither side has, or `before` has no gated score.
    """
    _check_known(gate)
    old, new = (paired_scores.select(run.per_image, gate.region, OBSERVER) for run in (before, after))
    rows, unmatched = [], []
    for dataset in dict.fromkeys([*old["dataset"], *new["dataset"]]):
        try:
            pair = _match_images(dataset, old, new)
        except ValueError as error:
            unmatched.append(str(error))
            continue
        for score in gate.tolerances:
            if score.startswith(POOLED):
                row = _judge_pooled(dataset, score, before, after, gate)
            else:
                row = _judge_mean(dataset, score, *pair, gate)
            rows.append(_fail_other_widths(row, before, after))
    if old.empty or (rows and not unmatched and all(math.isnan(row.before) for row in rows)):
        scores = ", ".join(gate.tolerances)
        raise ValueError(f"{before.name}: expected {scores} of the model, {gate.region}; found none")
    if not unmatched:
        _check_defined(rows, gate)
    same_sets = set(old["dataset"]) == set(new["dataset"])
    return GateResult(rows, [*_changed_rules(before, after, same_sets), *unmatched])


def judge(before: float, after: float, interval: tuple[float, float], tolerance: float, lower_is_better: bool) -> str:
    """Judge one score: it fails where it is worse by more than `tolerance` and the interval excludes 0.

    Without an interval (NaN) the tolerance alone decides.

    >>> judge(0.82, 0.81, (-0.012, -0.008), 0.005, lower_is_better=False)
    'fail: worse by more than 0.005'
    >>> judge(0.82, 0.81, (-0.022, 0.002), 0.005, lower_is_better=False)
    'pass: the interval includes 0'
    >>> judge(0.82, 0.83, (0.008, 0.012), 0.005, lower_is_better=False)
    'pass'
    """
    if math.isnan(before):
        return "undefined" if math.isnan(after) else "new"
    if math.isnan(after):
        return f"{FAIL}undefined"
    if (after - before if lower_is_better else before - after) <= tolerance + ROUNDING:
        return "pass"
    low, high = interval
    return "pass: the interval includes 0" if low <= 0 <= high else f"{FAIL}worse by more than {tolerance:g}"


def _match_images(dataset: str, old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of a test set on both sides, by id; those of a new test set have no scores before."""
    if dataset not in set(new["dataset"]):
        raise ValueError(f"{dataset}: expected the test set on both sides, got it before only")
    if dataset not in set(old["dataset"]):
        old = new.drop(columns=[name for name in metric_definitions.SCORES if name in new])
    return paired_scores.match_images(dataset, old, new)


def _judge_mean(dataset: str, score: str, old: pd.DataFrame, new: pd.DataFrame, gate: RegressionGate) -> GateRow:
    """Judge a mean over images."""
    missing = score not in new
    old, new = (table if score in table else table.assign(**{score: math.nan}) for table in (old, new))
    found = paired_scores.compare_score(dataset, score, old, new, gate.bootstrap_resamples, gate.seed)
    mean, low, high = found.difference.mean, found.difference.low, found.difference.high
    means = (found.old, found.new) if found.difference.images else (float(old[score].mean()), float(new[score].mean()))
    lost = list(new.index[old[score].notna() & new[score].isna()])
    if missing:
        verdict = f"{FAIL}missing"
    elif lost:
        verdict = f"{FAIL}undefined for {lost[0]} and {len(lost) - 1} more"
    else:
        lower = metric_definitions.SCORES[score].lower_is_better
        verdict = judge(*means, (low, high), gate.tolerances[score], lower)
    return GateRow(dataset, score, *means, mean, low, high, gate.tolerances[score], verdict)


def _judge_pooled(dataset: str, score: str, before: CommittedRun, after: CommittedRun, gate: RegressionGate) -> GateRow:
    """Judge a score of all pixels, which has no interval."""
    name, none = score.removeprefix(POOLED), (math.nan, math.nan)
    old, new = (run.pooled(dataset, gate.region, name) for run in (before, after))
    earlier, later = (math.nan if value is None else value for value in (old, new))
    lower = metric_definitions.SCORES[name].lower_is_better
    verdict = judge(earlier, later, none, gate.tolerances[score], lower)
    verdict = f"{FAIL}missing" if new is None else verdict
    return GateRow(dataset, score, earlier, later, later - earlier, *none, gate.tolerances[score], verdict)


def _changed_rules(before: CommittedRun, after: CommittedRun, same_sets: bool) -> list[str]:
    """Return a message for each rule of scoring that the sides do not share."""
    reasons = []
    for key in ("threshold", *LATER_KEYS):
        old, new = (run.evaluate_param(key) for run in (before, after))
        if old != new:
            reasons.append(f"evaluate.{key}: expected {_as_json(old)} as before, got {_as_json(new)}")
    tests = [run.lock.outs().get(TEST_DATA) for run in (before, after)]
    if same_sets and tests[0] != tests[1]:
        expected = f"expected images and ground truth as before (md5 {tests[0]})"
        reasons.append(f"{TEST_DATA}: {expected}, got others ({tests[1]})")
    return reasons


def _fail_other_widths(row: GateRow, before: CommittedRun, after: CommittedRun) -> GateRow:
    """Fail the row where its score depends on `evaluate.width_limits` and these differ."""
    if not row.score.endswith(BY_WIDTH) or row.failed or math.isnan(row.before):
        return row
    limits = [run.evaluate_param("width_limits") for run in (before, after)]
    if limits[0] == limits[1]:
        return row
    shown = f"{_as_json(limits[0])} before, {_as_json(limits[1])} after"
    return row._replace(verdict=f"{FAIL}evaluate.width_limits {shown}")


def _check_known(gate: RegressionGate) -> None:
    known = [name for name in metric_definitions.SCORES if name not in paired_scores.RUN_SPECIFIC]
    for score in gate.tolerances:
        if score.removeprefix(POOLED) not in known:
            expected = f"expected one of {', '.join(known)}, or {POOLED} before it"
            raise ValueError(f"params.yaml: regression_gate.tolerances: {expected}, got {score!r}")


def _check_defined(rows: list[GateRow], gate: RegressionGate) -> None:
    """Reject a gate with a score that is defined nowhere, such as clDice on the full image: it would always pass."""
    defined = {row.score for row in rows if not (math.isnan(row.before) and math.isnan(row.after))}
    for score in {row.score: None for row in rows}:
        if score not in defined:
            expected = f"expected scores of {gate.region}, got {score!r}, which neither side has"
            raise ValueError(f"params.yaml: regression_gate.tolerances: {expected}")


def _as_json(value: object) -> str:
    return json.dumps(value, default=str)  # YAML has dates
