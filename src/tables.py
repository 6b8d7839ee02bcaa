"""The tables of a run, those in `metrics/`, as they are read: a damaged one is refused by name, not half understood."""

from collections.abc import Iterable
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from src import files, reported

LARGEST = 1e12  # beyond any score or number of pixels
POINT = ("f1", "precision", "recall", "false_positive_rate")  # in scores.json, of every observer
AREAS = ("auc_roc", "auc_pr", "brier", "calibration_error")  # the same, of the model alone
ALWAYS = ("f1", "accuracy")  # scores that every observer has


class Format(NamedTuple):
    """The columns that a table must have; any other column is one of numbers.

    `texts` are never empty, and the first `key` of them name a row; `counts` are whole numbers from 0, `known` finite
    numbers, `numbers` finite or empty, which is undefined.
    """

    texts: tuple[str, ...] = ()
    key: int = 0
    counts: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


SCORE = ("dataset", "observer", "region", "score")
SHARES = tuple(f"{kind}_share_{part}" for kind in ("vessel", "fov") for part in ("mean", "min", "max"))
PER_IMAGE = Format(("dataset", "observer", "region", "id", "group"), 4, ("tp", "fp", "fn", "tn"))
FORMATS = {
    "per_image.csv": PER_IMAGE,
    "training.csv": Format(counts=("epoch",)),
    "summary.csv": Format(SCORE, 4, ("images", "groups"), numbers=("pooled", "mean", "sd", "low", "high")),
    "differences.csv": Format(SCORE, 4, ("won", "lost", "images", "groups"), numbers=("mean", "low", "high", "p")),
    "audit.csv": Format(
        ("subset", "dataset", "smallest", "largest"), 2, ("images", "groups", "second_observers"), SHARES
    ),
    "curves.csv": Format(("dataset",), numbers=("false_positive_rate", "recall", "precision")),
    "reliability.csv": Format(
        ("dataset",), 0, ("pixels",), ("probability_up_to",), ("mean_probability", "vessel_share")
    ),
    "doubt.csv": Format(("dataset",), 0, ("pixels", "wrong"), ("doubt_up_to",), ("wrong_share",)),
}


def read(path: Path, needed: Iterable[str] = ()) -> pd.DataFrame:
    """The table at `path`, which is one of FORMATS, with these further columns of numbers.

    Raises:
        ValueError: it is no such table; the sentence begins with the path.
    """
    form = FORMATS[path.name]
    table = parse(files.read_text(path), path, form._replace(numbers=(*form.numbers, *needed)))
    if table.empty:
        raise ValueError(f"{path}: expected at least one row, found none")
    return table


def parse(text: str, name: object, form: Format) -> pd.DataFrame:
    """The table in a CSV text called `name`; texts stay text, whatever they look like, counts are int64.

    Raises:
        ValueError: it is no such table, or a row stands there twice; the sentence begins with `name`.
    """
    header, *rows = files.parse_rows(text, name)
    _refuse_ragged(header, rows, name)
    missing = [column for column in (*form.texts, *form.counts, *form.known, *form.numbers) if column not in header]
    if missing:
        raise ValueError(f"{name}: expected the columns {', '.join(missing)}, found none")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    for column in header:
        if column in form.texts:
            _refuse_unprintable(table[column], f"{name}: {column}")
        else:
            table[column] = _numbers(table[column], column in form.counts, column in form.known, f"{name}: {column}")
    key = list(form.texts[: form.key])
    twice = table[table.duplicated(key)] if key else table[:0]
    if len(twice):
        raise ValueError(f"{name}: expected a row once, got {'/'.join(twice.iloc[0][key])} twice")
    return table


def read_per_image(path: Path, scores: dict, needed: Iterable[str]) -> pd.DataFrame:
    """The table per_image.csv at `path`, which has the images that `scores`, of scores.json, counts."""
    table = read(path, needed)
    _refuse_other_sets(path, table, scores)
    _refuse_other_images(path, table, scores)
    return table


def read_summary(path: Path, scores: dict) -> pd.DataFrame:
    """The table summary.csv at `path`, which has the test sets and observers of `scores`, of scores.json."""
    table = read_of_sets(path, scores)
    _refuse_other_observers(path, table, scores, (), ALWAYS)
    return table


def read_differences(path: Path, scores: dict) -> pd.DataFrame:
    """The table differences.csv at `path`, which has the test sets and observers of `scores` but for the model."""
    table = read(path)
    _refuse_other_observers(path, table, scores, ("model",), ALWAYS[:1])
    return table


def read_of_sets(path: Path, scores: dict) -> pd.DataFrame:
    """The table at `path`, whose test sets are those of `scores`, of scores.json."""
    table = read(path)
    _refuse_other_sets(path, table, scores)
    return table


def read_scores(path: Path, needed: Iterable[str] = ()) -> dict:
    """The content of scores.json; `needed` are scores of the model in the FOV, those of POINT of every observer.

    Raises:
        ValueError: it is no such file; the sentence begins with the path.
    """
    scores, needed = files.read_json(path), list(needed)
    files.share(scores.get("threshold"), f"{path}: threshold")
    if not test_sets(scores):
        raise ValueError(f"{path}: expected scores of a test set, found none")
    for dataset in test_sets(scores):
        _refuse_other_values(scores[dataset], f"{path}: {dataset}")
        for observer, found in observers(scores, dataset).items():
            mine = [key for key in needed if observer == "model" or key in POINT]
            _refuse_incomplete(found, mine, f"{path}: {dataset}.{observer}")
    return scores


def test_sets(scores: dict) -> list[str]:
    """The names of the test sets in the content of scores.json."""
    return [name for name in scores if name != "threshold"]


def observers(scores: dict, dataset: str) -> dict[str, dict]:
    """The scores of each observer of a test set, in the content of scores.json; those of the model stand at the top."""
    others = {name: scores[dataset][name] for name in reported.OBSERVERS if name in scores[dataset]}
    return {"model": scores[dataset], **others}


def _refuse_other_sets(path: Path, table: pd.DataFrame, scores: dict) -> None:
    found, expected = (", ".join(sorted(names)) for names in (set(table["dataset"]), test_sets(scores)))
    if found != expected:
        raise ValueError(f"{path}: expected the test sets of scores.json ({expected}), got {found}")


def _refuse_other_images(path: Path, per_image: pd.DataFrame, scores: dict) -> None:
    """Refuse a table that has not as many images of each observer as scores.json says."""
    counted = per_image[per_image["region"] == "fov"].groupby(["dataset", "observer"]).size()
    for dataset in test_sets(scores):
        for observer, content in observers(scores, dataset).items():
            found, expected = counted.get((dataset, observer), 0), content["images"]
            if found != expected:
                where = f"{dataset}, {observer}, fov"
                raise ValueError(f"{path}: expected {expected} images of {where}, as in scores.json, got {found}")


def _refuse_other_observers(
    path: Path, table: pd.DataFrame, scores: dict, but: tuple[str, ...], of: tuple[str, ...]
) -> None:
    """Refuse a table whose rows of the scores `of` are not of the observers in scores.json, but for some."""
    field = table[table["region"] == "fov"]
    for dataset, score in product(test_sets(scores), of):
        rows = field[(field["dataset"] == dataset) & (field["score"] == score)]
        expected = [name for name in observers(scores, dataset) if name not in but]
        if set(rows["observer"]) != set(expected):
            found = ", ".join(sorted(rows["observer"])) or "none"
            raise ValueError(f"{path}: expected {score} on {dataset} of {', '.join(expected)}, got that of {found}")


def _refuse_ragged(header: list[str], rows: list[list[str]], name: object) -> None:
    """Refuse a table whose rows are not of one length, or that names a column twice."""
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{name}: expected each column once, got {twice!r:.40} twice")
    for place, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{name}: expected {len(header)} cells in every row, got {len(row)} in row {place}")


def _refuse_unprintable(column: pd.Series, name: str) -> None:
    for value in column:
        if not value or not value.isprintable():
            raise ValueError(f"{name}: expected a name in every row, got {value!r:.40}")


def _numbers(column: pd.Series, counts: bool, known: bool, name: str) -> pd.Series:
    """The numbers that a column of texts holds, an empty one as NaN; int64 where they are counts."""
    values = pd.to_numeric(column.replace("", "nan"), errors="coerce").astype(float)
    strange = values.isna() & ~column.str.lower().isin(("", "nan")) | (values.abs() > LARGEST)
    if counts:
        strange |= values.isna() | (values < 0) | (values % 1 != 0)
    if known:
        strange |= values.isna()
    if strange.any():
        expected = "whole numbers from 0" if counts else "finite numbers"
        raise ValueError(f"{name}: expected {expected}, got {column[strange].iloc[0]!r:.40}")
    return values.astype("int64") if counts else values


def _refuse_incomplete(found: dict, needed: list[str], name: str) -> None:
    """Refuse scores of an observer without the number of images, or without those needed of the field of view."""
    images = found.get("images")
    if isinstance(images, bool) or not isinstance(images, int) or images < 1:
        raise ValueError(f"{name}: expected a number of images, got {images!r:.40}")
    missing = [key for key in needed if key not in found.get("fov", {})]
    if missing:
        raise ValueError(f"{name}: expected {', '.join(missing)} in the field of view (fov), found none")


def _refuse_other_values(found: object, name: str) -> None:
    """Refuse anything but names and values whose leaves are numbers or null."""
    if not isinstance(found, dict):
        raise ValueError(f"{name}: expected scores by name, got {found!r:.40}")
    for key, value in found.items():
        if key in ("fov", "full_image", *reported.OBSERVERS):
            _refuse_other_values(value, f"{name}.{key}")
        elif value is not None and not _is_number(value):
            raise ValueError(f"{name}.{key}: expected a number or null, got {value!r:.40}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST
