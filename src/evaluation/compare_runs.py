"""Command `compare`: compare the scores of two runs image by image."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.common.command_line import command_parser, whole_number
from src.common.markdown import interval, number, p_value, table
from src.evaluation import git_revisions, paired_scores, result_tables
from src.evaluation.paired_scores import ScoreComparison
from src.metrics import metric_definitions
from src.params import SEED_LIMIT

DESCRIPTION = """
Compare the scores of two runs image by image: means of both, the mean difference (new - old) with its 95 % interval,
Wilcoxon's p, and the numbers of images that became better and worse.

A run is a git revision, the name of a DVC experiment, a per_image.csv, or a folder that holds one. Tables of revisions
and experiments are read from git: nothing runs again. The loss is left out, as each run defines its own.
"""
EXIT_CODES = {
    0: "the comparison is printed; a test set that only one run has is named on stderr",
    2: "a run cannot be read, no test set is in both, or the images of a test set are not the same",
}
EXAMPLES = ("main gamma3", "HEAD~1 metrics --format markdown", "main metrics --observer second_observer")
PER_IMAGE = Path("metrics/per_image.csv")
HEAD = ("score", "old mean", "new mean", "new - old", "95 % interval", "p", "images better", "images worse", "images")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit code."""
    parser = command_parser("compare", DESCRIPTION, EXIT_CODES, EXAMPLES)
    parser.add_argument("old", help="git revision, DVC experiment, per_image.csv or its folder")
    parser.add_argument("new", help="likewise")
    parser.add_argument("--region", choices=("fov", "full_image"), default="fov", help="pixels that are scored")
    parser.add_argument("--observer", choices=tuple(metric_definitions.OBSERVERS), default="model", help="whose scores")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text", help="of the output")
    parser.add_argument(
        "--resamples", type=whole_number(100, 1_000_000), default=5000, help="of the bootstrap, at least 100"
    )
    parser.add_argument("--seed", type=whole_number(0, SEED_LIMIT - 1), default=1, help="of the bootstrap")
    given = parser.parse_args(arguments)
    try:
        tables = read_run(given.old), read_run(given.new)
        rows = compare(*tables, given.region, given.observer, given.resamples, given.seed)
        only = _of_one_run(*(paired_scores.select(table, given.region, given.observer) for table in tables))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for name in only:
        print(f"warning: {name} is left out, as only one run has it", file=sys.stderr)
    print(FORMATS[given.format](rows))
    return 0


def read_run(run: str) -> pd.DataFrame:
    """Read the per_image.csv of a file, folder, git revision or DVC experiment.

    Raises:
        ValueError: there is no such run, several experiments have the name, or it is no such table.
    """
    path = Path(run)
    if path.is_dir():
        path /= PER_IMAGE.name
    if path.is_file():
        return result_tables.parse(git_revisions.WORKING.text(path), path, PER_IMAGE.name)
    tree = git_revisions.find_tree(run, also=f"a {PER_IMAGE.name}, ")
    return result_tables.parse(tree.text(PER_IMAGE), tree.label(PER_IMAGE), PER_IMAGE.name)


def compare(
    old: pd.DataFrame, new: pd.DataFrame, region: str, observer: str, resamples: int, seed: int
) -> list[ScoreComparison]:
    """Compare each score that both tables have, by test set, in the order of SCORES.

    Recall and precision by vessel width are comparable where both runs have the same `evaluate.width_limits`.

    Raises:
        ValueError: no test set is in both; or the images of one, or the ground truth of an image, differ.
    """
    old, new = (paired_scores.select(table, region, observer) for table in (old, new))
    common = [name for name in dict.fromkeys(old["dataset"]) if name in set(new["dataset"])]
    if not common:
        expected = f"expected a test set with scores of {observer}, {region}, in both"
        raise ValueError(f"{expected}; got {_test_sets(old)} and {_test_sets(new)}")
    rows = []
    for dataset in common:
        before, after = paired_scores.match_images(dataset, old, new)
        for score in metric_definitions.SCORES:
            if score in before and score in after and score not in paired_scores.RUN_SPECIFIC:
                rows.append(paired_scores.compare_score(dataset, score, before, after, resamples, seed))
    return [row for row in rows if row.difference.images]


def as_markdown(rows: list[ScoreComparison]) -> str:
    """Render a Markdown table for each test set."""
    parts = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        mine = [row for row in rows if row.dataset == dataset]
        images, groups = (max(getattr(row.difference, name) for row in mine) for name in ("images", "groups"))
        parts += [f"`{dataset}`: {images} images of {groups} patients", table(HEAD, map(_cells, mine))]
    return "\n\n".join(parts)


def as_text(rows: list[ScoreComparison]) -> str:
    """Render aligned columns for a terminal."""
    lines = [("test set", *HEAD), *((row.dataset, *_cells(row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_json(rows: list[ScoreComparison]) -> str:
    """Render a JSON list of objects; an undefined number is null."""
    return json.dumps([paired_scores.undefined_as_none(row.as_row()) for row in rows], indent=2)


FORMATS = {"text": as_text, "markdown": as_markdown, "json": as_json}


def _cells(row: ScoreComparison) -> list[str]:
    found = row.difference
    return [
        metric_definitions.SCORES[row.score].label, number(row.old), number(row.new), number(found.mean, sign=True),
        interval(found.low, found.high, sign=True), p_value(found.p), str(found.better), str(found.worse),
        str(found.images),
    ]  # fmt: skip


def _of_one_run(old: pd.DataFrame, new: pd.DataFrame) -> list[str]:
    """Return the test sets that one of the tables has alone, in their order."""
    found = dict.fromkeys([*old["dataset"], *new["dataset"]])
    return [name for name in found if name in set(old["dataset"]) ^ set(new["dataset"])]


def _test_sets(table: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(table["dataset"])) or "none"
