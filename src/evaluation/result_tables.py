"""Tables of a run in `metrics/`, read with every column checked.

A damaged table is rejected by a message that names the file, the column and the value; see `read` and `parse`.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from src.common import atomic_io
from src.evaluation import table_format
from src.evaluation.table_format import TableFormat

OBSERVER_SCORES = ("accuracy", "f1", "precision", "recall", "false_positive_rate")  # every observer has these
MODEL_SCORES = ("auc_roc", "auc_pr", "brier", "calibration_error")  # in the field of view the model has these, too
RENAMED = {"recall_middle": "recall_medium", "precision_middle": "precision_medium"}  # scores of earlier versions


_SCORE = ("dataset", "observer", "region", "score")
_FRACTIONS = tuple(f"{kind}_fraction_{part}" for kind in ("vessel", "fov") for part in ("mean", "min", "max"))
FORMATS = {
    "per_image.csv": TableFormat(("dataset", "observer", "region", "id"), ("group",), ("tp", "fp", "fn", "tn")),
    "training.csv": TableFormat(counts=("epoch",)),
    "summary.csv": TableFormat(_SCORE, (), ("images", "groups"), numbers=("pooled", "mean", "sd", "low", "high")),
    "differences.csv": TableFormat(
        _SCORE, (), ("better", "worse", "images", "groups"), (), ("mean", "low", "high", "p")
    ),
    "audit.csv": TableFormat(
        ("subset", "dataset"), ("smallest", "largest"), ("images", "groups", "second_observers"), _FRACTIONS
    ),
    "curves.csv": TableFormat(texts=("dataset",), numbers=("false_positive_rate", "recall", "precision")),
    "reliability.csv": TableFormat(
        (), ("dataset",), ("pixels",), ("probability_up_to",), ("mean_probability", "vessel_fraction")
    ),
    "uncertainty.csv": TableFormat((), ("dataset",), ("pixels", "errors"), ("uncertainty_up_to",), ("error_rate",)),
}


def read(path: Path, needed: Iterable[str] = ()) -> pd.DataFrame:
    """Read the table at `path`, whose name is one of FORMATS; `needed` are further columns of numbers.

    Raises:
        ValueError: it is no such table; the message begins with the path.
    """
    table = parse(atomic_io.read_text(path), path, path.name, needed)
    if table.empty:
        raise ValueError(f"{path}: expected at least one row, found none")
    return table


def parse(text: str, name: object, table_name: str, needed: Iterable[str] = ()) -> pd.DataFrame:
    """Parse the CSV text of a table in FORMATS, also one of an earlier version whose scores had other names.

    Args:
        text: the CSV.
        name: how messages call it.
        table_name: its key in FORMATS.
        needed: further columns of numbers that it must have.

    Raises:
        ValueError: it is no such table; the message begins with `name`.
    """
    expected = FORMATS[table_name]
    table = table_format.parse(text, name, expected._replace(numbers=(*expected.numbers, *needed)))
    return table.rename(columns=RENAMED).replace({"score": RENAMED})


def read_summary(path: Path) -> pd.DataFrame:
    """Read summary.csv, with OBSERVER_SCORES of every observer and MODEL_SCORES of the model on every test set.

    Raises:
        ValueError: it is no such table, or lacks a score; the message begins with the path.
    """
    summary = read(path)
    fov = summary[summary["region"] == "fov"]
    for dataset in test_sets(summary):
        for observer in ("model", *observers(summary, dataset)):
            found = set(fov[(fov["dataset"] == dataset) & (fov["observer"] == observer)]["score"])
            required = (*OBSERVER_SCORES, *MODEL_SCORES) if observer == "model" else OBSERVER_SCORES
            missing = [score for score in required if score not in found]
            if missing:
                raise ValueError(f"{path}: expected {', '.join(missing)} of {observer} on {dataset}, fov, found none")
    return summary


def read_scores(path: Path) -> dict[str, dict[str, float | None]]:
    """Read scores.json or validation.json: scores by name, of each test set or of `validation`; None is undefined.

    Raises:
        ValueError: it is no such file, such as scores.json of an earlier version; the message begins with the path.
    """
    content = atomic_io.read_json(path)
    if not content:
        raise ValueError(f"{path}: expected scores, found none; `dvc repro evaluate` writes them")
    for group, scores in content.items():
        if not isinstance(scores, dict):
            raise ValueError(f"{path}: {group}: expected scores by name, got {scores!r:.40}; run `dvc repro evaluate`")
        for name, value in scores.items():
            if value is not None and not _is_number(value):
                raise ValueError(f"{path}: {group}.{name}: expected a number or null, got {value!r:.40}")
    return content


def read_per_image(path: Path, summary: pd.DataFrame, needed: Iterable[str]) -> pd.DataFrame:
    """Read per_image.csv, which must have as many images of each observer as the summary; errors as `read`."""
    per_image = read(path, needed)
    _check_test_sets(path, per_image, summary)
    fov = per_image[per_image["region"] == "fov"]
    for dataset in test_sets(summary):
        found = fov[fov["dataset"] == dataset]["observer"].value_counts()
        for observer in {**dict.fromkeys(observers(summary, dataset)), **dict.fromkeys(found.index)}:
            got, expected = found.get(observer, 0), image_count(summary, dataset, observer)
            if got != expected:
                where = f"{dataset}, {observer}, fov"
                raise ValueError(f"{path}: expected {expected} images of {where}, as in summary.csv, got {got}")
    return per_image


def read_differences(path: Path, summary: pd.DataFrame) -> pd.DataFrame:
    """Read differences.csv, with the test sets and observers of the summary but for the model; errors as `read`."""
    differences = read(path)
    fov = differences[(differences["region"] == "fov") & (differences["score"] == "f1")]
    for dataset in test_sets(summary):
        expected = [name for name in observers(summary, dataset) if name != "model"]
        found = set(fov[fov["dataset"] == dataset]["observer"])
        if found != set(expected):
            got = ", ".join(sorted(found)) or "none"
            raise ValueError(f"{path}: expected f1 on {dataset} of {', '.join(expected)}, got that of {got}")
    return differences


def read_by_dataset(path: Path, summary: pd.DataFrame) -> pd.DataFrame:
    """Read a table with the test sets of the summary; errors as `read`."""
    table = read(path)
    _check_test_sets(path, table, summary)
    return table


def test_sets(summary: pd.DataFrame) -> list[str]:
    """Return the names of the test sets in summary.csv."""
    return list(dict.fromkeys(summary["dataset"]))


def observers(summary: pd.DataFrame, dataset: str) -> list[str]:
    """Return the names of the observers of a test set in summary.csv, the model among them."""
    return list(dict.fromkeys(summary[summary["dataset"] == dataset]["observer"]))


def image_count(summary: pd.DataFrame, dataset: str, observer: str) -> int:
    """Return the number of images of an observer on a test set; 0 where it has none."""
    rows = summary[(summary["dataset"] == dataset) & (summary["observer"] == observer)]
    return int(rows["images"].max()) if len(rows) else 0


def rows_in_fov(per_image: pd.DataFrame, observer: str) -> pd.DataFrame:
    """Return the rows of an observer in the field of view."""
    return per_image[(per_image["observer"] == observer) & (per_image["region"] == "fov")]


def pooled_scores(summary: pd.DataFrame, dataset: str, region: str = "fov") -> dict[str, dict[str, float]]:
    """Return the scores of a test set pooled over pixels, by observer and score; undefined ones are NaN."""
    rows = summary[(summary["dataset"] == dataset) & (summary["region"] == region)]
    result: dict[str, dict[str, float]] = {}
    for observer, score, value in zip(rows["observer"], rows["score"], rows["pooled"], strict=True):
        result.setdefault(observer, {})[score] = value
    return result


def _check_test_sets(path: Path, table: pd.DataFrame, summary: pd.DataFrame) -> None:
    found, expected = (", ".join(sorted(names)) for names in (set(table["dataset"]), test_sets(summary)))
    if found != expected:
        raise ValueError(f"{path}: expected the test sets of summary.csv ({expected}), got {found}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= table_format.MAX_VALUE
