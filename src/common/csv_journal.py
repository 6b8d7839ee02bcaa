"""Append-only CSV table that stays readable when its writer is killed; the last row of a key counts."""

import os
from collections.abc import Sequence
from pathlib import Path

from src.common import atomic_io

ENCODING, ENCODING_ERRORS = "utf-8", "surrogateescape"  # the name of a file may be any bytes


class Journal:
    """A CSV file with known columns, the first of them the key. `rows` holds the rows, as text, by key."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Read the rows at `path`, if any, and compact them; an incomplete last row is dropped.

        Raises:
            ValueError: the file has other columns.
        """
        self.path, self.columns = path, tuple(columns)
        header, *rows = _read_complete_rows(path) if path.exists() else [list(self.columns)]
        if tuple(header) != self.columns:
            raise ValueError(f"{path}: expected the columns {', '.join(self.columns)}, got {', '.join(header)}")
        complete = [row for row in rows if len(row) == len(self.columns)]
        self.rows = {row[0]: dict(zip(self.columns, row, strict=True)) for row in complete}
        self.compact()

    def add(self, row: dict[str, str]) -> None:
        """Append a row to the file; it is on the disk when this returns."""
        with self.path.open("ab") as file:
            file.write(_line([row[column] for column in self.columns]))
            file.flush()
            os.fsync(file.fileno())
        self.rows[row[self.columns[0]]] = row

    def compact(self) -> None:
        """Rewrite the file atomically: each key once, sorted."""
        rows = ([row[column] for column in self.columns] for _, row in sorted(self.rows.items()))
        atomic_io.write_bytes(self.path, b"".join(map(_line, [self.columns, *rows])))


def _read_complete_rows(path: Path) -> list[list[str]]:
    """Read the rows that end with a line end, the header first."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    while content.count(b'"', 0, end) % 2:  # that line end is inside a quoted cell which was cut off
        end = content.rfind(b"\n", 0, end - 1) + 1
    return atomic_io.parse_rows(content[:end].decode(ENCODING, ENCODING_ERRORS), path)


def _line(cells: Sequence[str]) -> bytes:
    return atomic_io.format_row(cells).encode(ENCODING, ENCODING_ERRORS)
