"""Compare the scores of two runs image by image: `python -m src.comparison OLD NEW`.

A run is a git revision, the name of a DVC experiment, or a per_image.csv (or a folder that holds one). Tables of
revisions and experiments are read from git, so nothing runs again.
"""

import argparse
import json
import math
import sys
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from src import intervals, reported, revisions, tables
from src.markdown import interval, number, p_value, table

TABLE = Path("metrics/per_image.csv")
OWN = {"loss"}  # a score that each run defines by its own parameters
KEY = list(tables.PER_IMAGE.texts[: tables.PER_IMAGE.key])
LEAST_DRAWS = 100
COUNTS = list(tables.PER_IMAGE.counts)


class Row(NamedTuple):
    """The paired difference new - old of one score on one test set; see `intervals.Difference`."""

    dataset: str
    score: str
    old: float
    new: float
    difference: float
    low: float
    high: float
    p: float
    won: int
    lost: int
    images: int
    groups: int


def read(run: str) -> pd.DataFrame:
    """The per_image.csv of a file, folder, revision or experiment.

    Raises:
        ValueError: there is no such run, several experiments have the name, or it is no such table.
    """
    path = Path(run)
    if path.is_dir():
        path /= TABLE.name
    if path.is_file():
        return tables.parse(revisions.WORKING.text(path), str(path), tables.PER_IMAGE)
    tree = revisions.find(run, also="a per_image.csv, ")
    return tables.parse(tree.text(TABLE), tree.called(TABLE), tables.PER_IMAGE)


def compare(old: pd.DataFrame, new: pd.DataFrame, region: str, observer: str, draws: int, seed: int) -> list[Row]:
    """A row for each test set and score that both tables have, in the order of `reported.SCORES`; not for the loss.

    Recall and precision by vessel width compare where both runs have the same `evaluate.widths`.

    Raises:
        ValueError: no test set is in both, or the images of one, or the truth of an image, are not the same.
    """
    old, new = (select(table, region, observer) for table in (old, new))
    shared = [name for name in dict.fromkeys(old["dataset"]) if name in set(new["dataset"])]
    if not shared:
        raise ValueError(f"expected a test set in both, got {_sets(old)} and {_sets(new)}")
    rows = []
    for dataset in shared:
        before, after = matched(dataset, old, new)
        names = (name for name in reported.SCORES if name in {*before} & {*after} - OWN)
        rows += [paired(dataset, name, before, after, draws, seed) for name in names]
    return [row for row in rows if row.images]


def select(table: pd.DataFrame, region: str, observer: str) -> pd.DataFrame:
    """The rows of one observer in one region."""
    return table[(table["region"] == region) & (table["observer"] == observer)]


def matched(dataset: str, old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows of one test set in two tables of one observer and region, by id.

    Raises:
        ValueError: the images, or the truth or field of view of one, are not the same.
    """
    before, after = (table[table["dataset"] == dataset].set_index("id").sort_index() for table in (old, new))
    _refuse_other_images(dataset, before, after)
    return before, after


def paired(dataset: str, name: str, old: pd.DataFrame, new: pd.DataFrame, draws: int, seed: int) -> Row:
    """The row of one score of `matched` tables; NaN where no image has the score in both."""
    known = old[name].notna() & new[name].notna()
    means = float(old[name][known].mean()), float(new[name][known].mean())
    values, others = (table[name].to_numpy(float) for table in (new, old))
    groups, lower = new["group"].to_numpy(str), reported.SCORES[name].lower
    return Row(dataset, name, *means, *intervals.paired(values, others, groups, lower, draws, seed))


def as_markdown(rows: list[Row]) -> str:
    """The rows as a Markdown table for each test set."""
    head = ["score", "old", "new", "new - old", "95 % interval", "p", "won", "lost", "n"]
    parts = []
    for dataset in dict.fromkeys(row.dataset for row in rows):
        mine = [row for row in rows if row.dataset == dataset]
        title = f"`{dataset}`: {max(row.images for row in mine)} images of {max(row.groups for row in mine)} people"
        parts += [title, table(head, map(_cells, mine))]
    return "\n\n".join(parts)


def as_text(rows: list[Row]) -> str:
    """The rows in columns, for a terminal."""
    head = ("dataset", "score", "old", "new", "new - old", "95 % interval", "p", "won", "lost", "n")
    lines = [head, *((row.dataset, *_cells(row)) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def as_json(rows: list[Row]) -> str:
    """The rows as a JSON list; undefined is null."""
    values = [
        {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row._asdict().items()}
        for row in rows
    ]
    return json.dumps(values, indent=2)


FORMATS = {"text": as_text, "markdown": as_markdown, "json": as_json}


def _cells(row: Row) -> list[str]:
    return [
        reported.SCORES[row.score].label, number(row.old), number(row.new), number(row.difference, sign=True),
        interval(row.low, row.high, sign=True), p_value(row.p), str(row.won), str(row.lost), str(row.images),
    ]  # fmt: skip


def _sets(table: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(table["dataset"])) or "none"


def _refuse_other_images(dataset: str, old: pd.DataFrame, new: pd.DataFrame) -> None:
    """Refuse to pair images that are not the same, or whose truth or field of view changed."""
    alone = sorted({*old.index} ^ {*new.index})
    if alone:
        raise ValueError(f"{dataset}: expected the same images, got {alone[0]} and {len(alone) - 1} more in one only")
    for name, columns in (("vessel", ["tp", "fn"]), ("background", ["fp", "tn"])):
        before, after = (table[columns].sum(axis=1) for table in (old, new))
        changed = before[before != after]
        if len(changed):
            id_ = changed.index[0]
            raise ValueError(f"{dataset}/{id_}: expected {changed.iloc[0]} pixels of {name} in both, got {after[id_]}")


def main(arguments: list[str]) -> int:
    """Print the comparison; 0, or 2 with one sentence where there is none."""
    parser = argparse.ArgumentParser(prog="python -m src.comparison", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("old", help="git revision, DVC experiment, per_image.csv or its folder")
    parser.add_argument("new", help="likewise")
    parser.add_argument("--region", choices=("fov", "full_image"), default="fov")
    parser.add_argument("--observer", choices=tuple(reported.OBSERVERS), default="model")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text")
    parser.add_argument("--draws", type=int, default=5000, help="of the bootstrap (default: 5000)")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (default: 1)")
    given = parser.parse_args(arguments)
    if given.draws < LEAST_DRAWS:
        parser.error(f"--draws: expected at least {LEAST_DRAWS}, got {given.draws}")
    try:
        rows = compare(read(given.old), read(given.new), given.region, given.observer, given.draws, given.seed)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(FORMATS[given.format](rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
