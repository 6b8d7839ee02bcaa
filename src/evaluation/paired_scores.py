"""Scores of two runs paired image by image; shared by the comparison of runs and the regression gate."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import pandas as pd

from src.metrics import bootstrap, metric_definitions
from src.metrics.bootstrap import Difference

RUN_SPECIFIC = ("loss",)  # defined by each run's own parameters
COUNTS = {"vessel": ["tp", "fn"], "background": ["fp", "tn"]}  # sums that every prediction leaves unchanged


class ScoreComparison(NamedTuple):
    """Means of a score over the images of a test set in two runs, and the paired difference new - old."""

    dataset: str
    score: str
    old: float
    new: float
    difference: Difference

    def as_row(self) -> dict[str, object]:
        """Return the comparison by column; `difference` is the mean."""
        numbers = self.difference._asdict()
        means = {"old": self.old, "new": self.new, "difference": numbers.pop("mean")}
        return {"dataset": self.dataset, "score": self.score} | means | numbers


def undefined_as_none(row: Mapping[str, object]) -> dict[str, object]:
    """Replace NaN by None, which JSON has.

    >>> undefined_as_none({"p": math.nan, "images": 3})
    {'p': None, 'images': 3}
    """
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}


def select(table: pd.DataFrame, region: str, observer: str) -> pd.DataFrame:
    """Return the rows of one observer in one region."""
    return table[(table["region"] == region) & (table["observer"] == observer)]


def match_images(dataset: str, old: pd.DataFrame, new: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of one test set in two tables of one observer and region, each indexed and sorted by id.

    Raises:
        ValueError: the images, or the ground truth or field of view of one, differ.
    """
    before, after = (table[table["dataset"] == dataset].set_index("id").sort_index() for table in (old, new))
    unpaired = sorted({*before.index} ^ {*after.index})
    if unpaired:
        others = len(unpaired) - 1
        raise ValueError(f"{dataset}: expected the same images, got {unpaired[0]} and {others} more in one only")
    for name, columns in COUNTS.items():
        pixels, changed = (table[columns].sum(axis=1) for table in (before, after))
        differing = pixels.index[pixels != changed]
        if len(differing):
            id_ = differing[0]
            where = f"{dataset}/{id_}"
            raise ValueError(f"{where}: expected {pixels[id_]} pixels of {name} in both, got {changed[id_]}")
    return before, after


def compare_score(
    dataset: str, score: str, old: pd.DataFrame, new: pd.DataFrame, resamples: int, seed: int
) -> ScoreComparison:
    """Compare one score of two tables of `match_images`; NaN where no image has the score in both."""
    known = old[score].notna() & new[score].notna()
    means = float(old[score][known].mean()), float(new[score][known].mean())
    values, others = (table[score].to_numpy(float) for table in (new, old))
    groups, lower = new["group"].to_numpy(str), metric_definitions.SCORES[score].lower_is_better
    difference = bootstrap.paired_difference(values, others, groups, lower, resamples, seed)
    return ScoreComparison(dataset, score, *means, difference)
