"""A table that grows by a row at a time and is right whenever its writer is killed; the last row of a key counts."""

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from src import files

TEXT = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file's name may be any bytes


class Journal:
    """A CSV file with known columns, the first of them the key. `rows` holds the rows, as text, by key."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Read the rows at `path`, if any; a last one that was cut off, as its writer was killed, is forgotten.

        Raises:
            ValueError: the file has other columns.
        """
        self.path, self.columns = path, tuple(columns)
        header, *rows = _read(path) if path.exists() else [self.columns]
        if tuple(header) != self.columns:
            raise ValueError(f"{path}: expected the columns {', '.join(self.columns)}, got {', '.join(header)}")
        whole = [row for row in rows if len(row) == len(self.columns)]
        self.rows = {row[0]: dict(zip(self.columns, row, strict=True)) for row in whole}
        self.tidy()

    def add(self, row: dict[str, str]) -> None:
        """Add a row at the end of the file; the disk has it when this returns."""
        with self.path.open("ab", buffering=0) as file:
            file.write(_line([row[column] for column in self.columns]))
            os.fsync(file.fileno())
        self.rows[row[self.columns[0]]] = row

    def tidy(self) -> None:
        """Write the file anew, whole or not at all: each key once, sorted."""
        rows = ([row[column] for column in self.columns] for _, row in sorted(self.rows.items()))
        files.write_bytes(self.path, b"".join(map(_line, [self.columns, *rows])))


def _read(path: Path) -> list[list[str]]:
    """The lines of the file that were written to their end, the header first."""
    content = path.read_bytes()
    end = content.rfind(b"\n") + 1
    while content.count(b'"', 0, end) % 2:  # the line end of a cell, in quotes that were not closed any more
        end = content.rfind(b"\n", 0, end - 1) + 1
    text = content[:end].decode(**TEXT)
    return files.parse_rows(text, path)


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode(**TEXT)
