"""CSV tables with typed columns: a damaged one is rejected by a message that names the table, column, value and row."""

from typing import NamedTuple

import pandas as pd

from src.common import atomic_io

MAX_VALUE = 1e12  # greater than any score or number of pixels


class TableFormat(NamedTuple):
    """Columns that a table must have; every further column holds numbers.

    `key` columns are texts that identify a row, `texts` further texts; neither is ever empty. `counts` are integers
    from 0, `finite` numbers are always defined, `numbers` are finite or empty, which is undefined (NaN).
    """

    key: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    counts: tuple[str, ...] = ()
    finite: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()


def parse(text: str, name: object, expected: TableFormat) -> pd.DataFrame:
    """Parse a CSV text called `name`. Texts stay text, whatever they look like; counts are int64, numbers float64.

    Raises:
        ValueError: it is no such table, or has a row twice; the message begins with `name`.
    """
    header, *rows = atomic_io.parse_rows(text, name)
    _check_shape(header, rows, name)
    missing = [column for group in expected for column in group if column not in header]
    if missing:
        raise ValueError(f"{name}: expected the columns {', '.join(missing)}, found none")
    table = pd.DataFrame(rows, columns=header, dtype=str)
    for column in header:
        if column in (*expected.key, *expected.texts):
            _check_texts(table[column], f"{name}: {column}")
        elif column in expected.counts:
            table[column] = _counts(table[column], f"{name}: {column}")
        else:
            table[column] = _numbers(table[column], f"{name}: {column}", undefined=column not in expected.finite)
    twice = table[table.duplicated(list(expected.key))] if expected.key else table[:0]
    if len(twice):
        raise ValueError(f"{name}: expected each row once, got {'/'.join(twice.iloc[0][list(expected.key)])} twice")
    return table


def _check_shape(header: list[str], rows: list[list[str]], name: object) -> None:
    """Reject a table that names a column twice, or whose rows differ in length."""
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise ValueError(f"{name}: expected each column once, got {twice!r:.40} twice")
    for number, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"{name}: expected {len(header)} cells in every row, got {len(row)} in row {number}")


def _check_texts(column: pd.Series, name: str) -> None:
    valid = column.map(lambda value: bool(value) and value.isprintable())
    _reject(column, ~valid.astype(bool), f"{name}: expected a text")


def _counts(column: pd.Series, name: str) -> pd.Series:
    values = pd.to_numeric(column, errors="coerce").astype(float)
    _reject(
        column, ~((values >= 0) & (values <= MAX_VALUE) & (values % 1 == 0)), f"{name}: expected whole numbers from 0"
    )
    return values.astype("int64")


def _numbers(column: pd.Series, name: str, undefined: bool) -> pd.Series:
    """Convert texts to float64; an empty cell or "nan" is NaN where `undefined` values are allowed."""
    values = pd.to_numeric(column, errors="coerce").astype(float)
    allowed = column.str.lower().isin(("", "nan")) & undefined
    _reject(column, ~(values.abs() <= MAX_VALUE) & ~allowed, f"{name}: expected finite numbers")
    return values


def _reject(column: pd.Series, invalid: pd.Series, message: str) -> None:
    """Raise ValueError that tells the first invalid value and its row, if there is one."""
    if invalid.any():
        row = int(invalid.to_numpy().argmax())
        raise ValueError(f"{message}, got {column.iloc[row]!r:.40} in row {row + 1}")
