"""Results of a finished run as the reports read them: its tables, parameters, versions and hashes."""

from dataclasses import dataclass
from typing import NamedTuple

import pandas as pd

from src.evaluation import result_tables
from src.params import Params


class SummaryRow(NamedTuple):
    """Row of `summary.csv`: one score of one observer, pooled over pixels and as mean over images; NaN: undefined."""

    dataset: str
    observer: str
    region: str
    score: str
    pooled: float
    mean: float
    sd: float
    low: float
    high: float
    images: int
    groups: int


class DifferenceRow(NamedTuple):
    """Row of `differences.csv`: the model minus another observer in one score, paired by image; NaN: undefined."""

    dataset: str
    observer: str
    region: str
    score: str
    mean: float
    low: float
    high: float
    p: float
    better: int
    worse: int
    images: int
    groups: int


@dataclass(frozen=True)
class RunResults:
    """A finished run; the tables are those of `metrics/`."""

    threshold: float
    summary: pd.DataFrame
    differences: pd.DataFrame
    audit: pd.DataFrame
    uncertainty: pd.DataFrame
    params: Params
    versions: dict[str, str]
    hashes: dict[str, str]

    @property
    def datasets(self) -> list[str]:
        """The test sets."""
        return result_tables.test_sets(self.summary)

    def observers(self, dataset: str) -> list[str]:
        """Return the observers of a test set, the model first."""
        return result_tables.observers(self.summary, dataset)

    def image_count(self, dataset: str, observer: str = "model") -> int:
        """Return the number of test images that an observer has annotated or predicted."""
        return result_tables.image_count(self.summary, dataset, observer)

    def patient_count(self, dataset: str) -> int:
        """Return the number of patients of a test set."""
        return self.score_rows(dataset, "fov", "accuracy")["model"].groups

    def score_rows(self, dataset: str, region: str, score: str) -> dict[str, SummaryRow]:
        """Return the rows of one score by observer."""
        rows = _select(self.summary, dataset, region, score, SummaryRow._fields)
        return {row.observer: row for row in (SummaryRow(*values) for values in rows)}

    def difference_rows(self, dataset: str, score: str) -> dict[str, DifferenceRow]:
        """Return the differences of one score in the field of view, by observer that the model is compared with."""
        rows = _select(self.differences, dataset, "fov", score, DifferenceRow._fields)
        return {row.observer: row for row in (DifferenceRow(*values) for values in rows)}


def _select(table: pd.DataFrame, dataset: str, region: str, score: str, columns: tuple[str, ...]) -> list[tuple]:
    found = (table["dataset"] == dataset) & (table["region"] == region) & (table["score"] == score)
    return list(table.loc[found, list(columns)].itertuples(index=False, name=None))
