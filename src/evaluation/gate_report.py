"""Report of the regression gate: the verdict as Markdown for people, as JSON for programs."""

import json

from src.common.markdown import interval, number, table
from src.evaluation.gate_verdict import FAIL, POOLED, GateResult
from src.evaluation.paired_scores import undefined_as_none
from src.metrics import metric_definitions

HEAD = ("test set", "score", "before", "after", "difference", "95 % interval", "tolerance", "verdict")


def as_markdown(result: GateResult, before: str, after: str) -> str:
    """Render the verdict as Markdown: a table of scores, the other reasons, notes, pass or fail.

    Args:
        result: the verdict.
        before: name of the earlier side.
        after: name of the later side.
    """
    cells = (
        [
            f"`{row.dataset}`", _label(row.score), number(row.before), number(row.after),
            number(row.difference, sign=True), interval(row.low, row.high, sign=True), f"{row.tolerance:g}",
            row.verdict,
        ]
        for row in result.rows
    )  # fmt: skip
    parts = [f"## Regression gate: {after} against {before}", table(HEAD, cells)]
    lines = [f"- {FAIL}{reason}" for reason in result.reasons] + [f"- note: {note}" for note in result.notes]
    if lines:
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, f"**{'Fail' if result.failed else 'Pass'}**"])


def as_json(result: GateResult, before: str, after: str) -> str:
    """Render the verdict as a JSON object; an undefined number is null."""
    content = {
        "passed": not result.failed,
        "before": before,
        "after": after,
        "reasons": result.reasons,
        "notes": result.notes,
        "scores": [undefined_as_none(row._asdict()) for row in result.rows],
    }
    return json.dumps(content, indent=2) + "\n"


def _label(score: str) -> str:
    """Return the heading of a gated score.

    >>> _label("pooled_f1")
    'F1 (Dice), pooled'
    """
    label = metric_definitions.SCORES[score.removeprefix(POOLED)].label
    return f"{label}, pooled" if score.startswith(POOLED) else label
