"""Command `gate`: fail when a change makes scores worse."""

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from src.common import atomic_io
from src.common.command_line import command_parser
from src.evaluation import gate_report, gate_verdict, git_revisions, pipeline_status
from src.evaluation.gate_inputs import TABLES, read_run
from src.evaluation.gate_verdict import GateResult
from src.evaluation.git_revisions import FileTree
from src.params import Gate, RegressionGate, load_regression_gate

DESCRIPTION = """
Compare the committed scores of two revisions image by image, and fail when a gated score became worse.

A score fails where it is worse by more than its tolerance and the 95 % interval of the paired difference excludes 0.
Pooled scores, and those of fewer than four patients, have no interval: the tolerance alone decides.
Scores, tolerances and region are section `regression_gate` of params.yaml in the working tree, also with --of. A note
names what differs there from the earlier side. Tables are read from git: nothing runs again, and neither data nor DVC's
cache is needed. The verdict is printed as Markdown.
"""
EXIT_CODES = {
    0: "no gated score is worse, and all are there",
    1: "the later side fails: a score became worse, is missing or undefined; a test set is missing or its images or "
    "ground truth changed; the rule for the threshold changed; its metrics do not match its dvc.lock, code, "
    "parameters (stale stages are named)",
    2: "the gate cannot judge: no such revision; a file missing or invalid; an invalid section `regression_gate`; "
    "metrics of the earlier side that do not match its dvc.lock; a gated score that neither side has",
}
EXAMPLES = ("", "--against HEAD~1 --json gate.json", "--against main --of my-experiment --tolerance-factor 1.5")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the verdict; returns the exit code."""
    parser = command_parser("gate", DESCRIPTION, EXIT_CODES, EXAMPLES)
    parser.add_argument("--against", default="main", metavar="REVISION", help="earlier side: git revision, experiment")
    parser.add_argument("--of", metavar="REVISION", help="later side, likewise (default: the working tree)")
    parser.add_argument(
        "--tolerance-factor",
        type=_factor,
        default=1.0,
        metavar="X",
        help="of all tolerances, say for another processor",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the verdict to this file, too, as JSON")
    given = parser.parse_args(arguments)
    try:
        gate = load_regression_gate()
        against = git_revisions.find_tree(given.against)
        tree = git_revisions.WORKING if given.of is None else git_revisions.find_tree(given.of)
        result = check(tree, against, scale_tolerances(gate, given.tolerance_factor))
        result = result._replace(notes=changed_gate(gate, against))
        if given.json is not None:
            atomic_io.write_text(given.json, gate_report.as_json(result, against.name, tree.name))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    after = tree.name if given.of is None else f"`{tree.name}`"
    print(gate_report.as_markdown(result, f"`{against.name}`", after))
    return int(result.failed)


def check(tree: FileTree, against: FileTree, gate: RegressionGate) -> GateResult:
    """Judge `tree`, and check that its metrics match its dvc.lock, code and parameters.

    The metrics of `against` must match its dvc.lock alone: scores that were measured once stay a reference.

    Raises:
        ValueError: the gate cannot judge, and why.
    """
    before, after = read_run(against), read_run(tree)
    altered = pipeline_status.changed_since_lock(against, before.lock, TABLES)
    if altered:
        raise ValueError(altered[0])
    result = gate_verdict.judge_runs(before, after, gate)
    reasons = pipeline_status.changed_since_lock(tree, after.lock, TABLES)
    stale = pipeline_status.stale_stages(tree)
    if stale:
        found = f"expected scores of its code and parameters, got stale stages {', '.join(stale)}"
        reasons.append(f"{tree.name}: {found}{_stale_before(against, stale)}")
    return result._replace(reasons=reasons + result.reasons)


def changed_gate(gate: RegressionGate, against: FileTree) -> tuple[str, ...]:
    """Return a note that names what of `gate` differs from the params.yaml of `against`; none where nothing does."""
    try:
        earlier = Gate.model_validate(yaml.safe_load(against.text(Path(pipeline_status.PARAMS)))).regression_gate
    except (ValueError, yaml.YAMLError):
        return (f"{against.name} has no section `regression_gate` of this version: its tolerances are not compared",)
    return tuple(
        f"{part} from {against.name}: {'; '.join(changes)}"
        for part, changes in (
            ("tolerances differ", _changes(earlier.tolerances, gate.tolerances)),
            ("regression_gate differs", _changes(_others(earlier), _others(gate))),
        )
        if changes
    )


def scale_tolerances(gate: RegressionGate, factor: float) -> RegressionGate:
    """Multiply every tolerance of the gate by `factor`."""
    return gate.model_copy(update={"tolerances": {score: factor * most for score, most in gate.tolerances.items()}})


def _stale_before(against: FileTree, stale: list[str]) -> str:
    """Return the end of the message on stale stages: which of them are stale on the earlier side, too."""
    try:
        earlier = pipeline_status.stale_stages(against)
    except ValueError:  # of an earlier version, say: DVC cannot tell
        return ""
    both = [stage for stage in stale if stage in earlier]
    if not both:
        return ""
    return f"; {against.name} is stale in {'the same stages' if both == stale else ', '.join(both)}, too"


def _others(gate: RegressionGate) -> dict[str, object]:
    """Return the keys of the section beside the tolerances."""
    return gate.model_dump(exclude={"tolerances"})


def _changes(before: Mapping[str, object], after: Mapping[str, object]) -> list[str]:
    """Say what changed between two mappings.

    >>> _changes({"f1": 0.005, "mcc": 0.005}, {"f1": 0.025, "auc_pr": 0.01})
    ['f1 0.005 -> 0.025', 'mcc removed', 'auc_pr 0.01 added']
    """
    shared = [f"{key} {before[key]} -> {after[key]}" for key in before if key in after and before[key] != after[key]]
    removed = [f"{key} removed" for key in before if key not in after]
    return shared + removed + [f"{key} {after[key]} added" for key in after if key not in before]


def _factor(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a positive factor, got {text}")
    return value
