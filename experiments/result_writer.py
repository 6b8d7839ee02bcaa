"""Write the results of an experiment to a CSV file row by row, and print them as a Markdown table."""

import math
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from src.common import atomic_io
from src.metrics.bootstrap import Difference

RESULTS = Path(__file__).with_name("results")
DIGITS = 6  # of a number in a CSV file
SHOWN_DIGITS = 4
Value = str | int | float | None


class ResultWriter:
    """A growing table of results: after each row the CSV file is complete, so that an interruption loses none."""

    def __init__(self, path: Path | None, columns: Sequence[str]) -> None:
        """Write to `path` unless it is None; print the header."""
        self._path, self._columns = path, columns
        self._rows: list[list[Value]] = []
        tqdm.write(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")

    def add(self, **values: Value) -> None:
        """Add a row; a column that is not given, or NaN, stays empty.

        Raises:
            ValueError: a value has no column.
        """
        if unknown := set(values) - set(self._columns):
            raise ValueError(f"expected values of {', '.join(self._columns)}, got {', '.join(sorted(unknown))}")
        row = [_known(values.get(column)) for column in self._columns]
        self._rows.append([round(value, DIGITS) if isinstance(value, float) else value for value in row])
        if self._path:
            atomic_io.write_rows(self._path, [self._columns, *self._rows])
        tqdm.write(f"| {' | '.join(map(_show, row))} |")


def difference_columns(score: str) -> list[str]:
    """Name the columns of a paired difference of a score: mean, and both ends of its interval."""
    return [f"{score}_difference", f"{score}_difference_low", f"{score}_difference_high"]


def difference_values(score: str, difference: Difference) -> dict[str, float]:
    """Return a paired difference by the names of `difference_columns`."""
    ends = (difference.mean, difference.low, difference.high)
    return dict(zip(difference_columns(score), ends, strict=True))


def _known(value: Value) -> Value:
    return None if isinstance(value, float) and math.isnan(value) else value


def _show(value: Value) -> str:
    if value is None:
        return "-"
    return f"{value:.{SHOWN_DIGITS}f}" if isinstance(value, float) else str(value)
