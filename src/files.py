"""Write a file whole or not at all."""

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a `.part` beside it, which is removed when it cannot be written.

    Raises:
        OSError: no space or no permission; what stood at `path` before still stands there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_rows(path: Path, rows: Iterable[Iterable]) -> None:
    """Write rows, the first of them the header, to `path` as CSV; None is an empty cell. See `write_bytes`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())
