"""Atomic writing of files; reading of text, tables and JSON with error messages that begin with the path."""

import contextlib
import csv
import io
import json
import os
import shutil
import signal
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

NAMES = ("SIGINT", "SIGTERM", "SIGALRM")  # the last repeats the others, see `signals`; Windows has no SIGALRM
INTERRUPTS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))
FOLDERS_HAVE_DESCRIPTORS = hasattr(os, "O_DIRECTORY")  # not on Windows, which syncs files opened for writing only


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` atomically, through a `.part` file beside it; only a killed process leaves it behind.

    The content is on the disk when this returns. Ctrl-C and SIGTERM are deferred until then.

    Raises:
        OSError: no space or no permission; the file that was at `path` before is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with uninterrupted():
        try:
            with path_in_error(path):
                part.write_bytes(content)
            atomic_rename(part, path)
        finally:
            part.unlink(missing_ok=True)


def atomic_rename(part: Path, path: Path) -> None:
    """Rename a complete file or folder to `path`, so that even after a power failure `path` is complete or old.

    All content is on the disk before the new name is, and the new name when this returns.

    Raises:
        OSError: no space; what was at `path` before is unchanged.
    """
    with path_in_error(path):
        for inner in part.rglob("*"):  # empty for a file
            _sync(inner)
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Defer Ctrl-C and SIGTERM to the end of the block; in other threads than the main one nothing is deferred."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    deferred: list[int] = []
    before = {number: signal.signal(number, lambda number, frame: deferred.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if deferred:
            signal.raise_signal(deferred[0])


@contextlib.contextmanager
def path_in_error(path: Path) -> Iterator[None]:
    """Add `path` to an OSError of the block that names no file, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8; see `write_bytes`."""
    write_bytes(path, text.encode("utf-8"))


def write_rows(path: Path, rows: Iterable[Iterable]) -> None:
    """Write rows, the first of them the header, to `path` as CSV; None is an empty cell. See `write_bytes`."""
    write_text(path, "".join(map(format_row, rows)))


def format_row(cells: Iterable[object]) -> str:
    """Format a row of a CSV file, with its line end; None is an empty cell.

    >>> format_row(["a,b", None, 1.5])
    '"a,b",,1.5\\n'
    """
    text, values = io.StringIO(newline=""), list(cells)
    broken = any("\r" in value for value in values if isinstance(value, str))  # Python 3.11 does not quote these
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if broken else csv.QUOTE_MINIMAL).writerow(values)
    return text.getvalue()


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, without a byte order mark.

    Raises:
        ValueError: it is no UTF-8; the message begins with the path.
        OSError: there is no such file, or it cannot be read.
    """
    return decode_text(path.read_bytes(), path)


def decode_text(content: bytes, name: object) -> str:
    """Decode a text in UTF-8, without a byte order mark; ValueError that begins with `name`."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{name}: expected a text in UTF-8, got {error.reason} at byte {error.start}") from error


def parse_rows(text: str, name: object) -> list[list[str]]:
    """Parse the non-empty rows of a CSV text, at least an empty header; ValueError that begins with `name`."""
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{name}: expected a table, got {error}") from error


def read_rows(path: Path) -> list[list[str]]:
    """Read the rows of a CSV file; see `parse_rows` and `read_text`."""
    return parse_rows(read_text(path), path)


def parse_json(text: str, name: object) -> dict:
    """Parse the object in a JSON text; ValueError that begins with `name` where there is none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name}: expected JSON of names and values, got {content!r:.40}")
    return content


def read_json(path: Path) -> dict:
    """Read the object in a JSON file; see `parse_json` and `read_text`."""
    return parse_json(read_text(path), path)


def parse_fraction(value: object, name: object) -> float:
    """Return a value that was read from a file as a number in [0, 1]; else ValueError that begins with `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r:.40}")
    return float(value)


def check_free_space(folder: Path, needed: float) -> None:
    """Raise OSError where the disk of `folder`, which need not exist yet, has fewer than `needed` bytes free."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise OSError(f"{folder}: expected {needed:.0f} bytes free on the disk for the output, got {free}")


def _sync(path: Path) -> None:
    """Flush the content of a file, or the names in a folder, to the disk."""
    if path.is_dir() and not FOLDERS_HAVE_DESCRIPTORS:
        return
    descriptor = os.open(path, os.O_RDONLY if FOLDERS_HAVE_DESCRIPTORS else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
