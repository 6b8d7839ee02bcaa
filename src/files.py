"""Write a file whole or not at all; read text, tables and JSON with a sentence for what is none."""

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

INTERRUPTS = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGALRM,
)  # Ctrl-C, a polite kill, and its echo (src/interruption.py)


def write_bytes(path: Path, content: bytes) -> None:
    """Write `content` to `path` by way of a `.part` beside it, which is removed when it cannot be written.

    The disk has it when this returns, should the power fail. Ctrl-C and SIGTERM wait until it is written.

    Raises:
        OSError: no space or no permission; what stood at `path` before still stands there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    with uninterrupted():
        try:
            with named(path):
                part.write_bytes(content)
            publish(part, path)
        finally:
            part.unlink(missing_ok=True)


def publish(part: Path, path: Path) -> None:
    """Give a file or folder that is whole, `part`, its name: what stands at `path` is whole after a power failure, too.

    The disk has all that is in it before it has the name, and the name when this returns.

    Raises:
        OSError: no space; what stood at `path` before still stands there.
    """
    with named(path):
        for inner in part.rglob("*"):  # nothing below a file
            _sync(inner)
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and SIGTERM back until the block ends; Python delivers them to the main thread alone."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held = []
    before = {number: signal.signal(number, lambda number, frame: held.append(number)) for number in INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if held:
            signal.raise_signal(held[0])


@contextlib.contextmanager
def named(path: Path) -> Iterator[None]:
    """In the block, an OSError that names no file, as that of a full disk, gets the name of this one."""
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
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_text(path, text.getvalue())


def read_text(path: Path) -> str:
    """The text of a file, without the mark that some editors put at its beginning.

    Raises:
        ValueError: it is no UTF-8; the sentence begins with the path.
        OSError: there is no such file, or it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: expected a text in UTF-8, got {error.reason} at byte {error.start}") from error


def parse_rows(text: str, name: object) -> list[list[str]]:
    """The rows of a CSV text that are not empty, at least an empty header; ValueError that begins with `name`."""
    try:
        return [row for row in csv.reader(io.StringIO(text, newline="")) if row] or [[]]
    except csv.Error as error:
        raise ValueError(f"{name}: expected a table, got {error}") from error


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a CSV file; see `parse_rows` and `read_text`."""
    return parse_rows(read_text(path), path)


def parse_json(text: str, name: object) -> dict:
    """The object that a JSON text holds; ValueError that begins with `name` where it holds none."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{name}: expected JSON, got {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{name}: expected JSON of names and values, got {content!r:.40}")
    return content


def read_json(path: Path) -> dict:
    """The object in a JSON file; see `parse_json` and `read_text`."""
    return parse_json(read_text(path), path)


def share(value: object, name: object) -> float:
    """The value, as read from a file, where it is a number in [0, 1]; else ValueError that begins with `name`."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{name}: expected a number from 0 to 1, got {value!r:.40}")
    return float(value)


def refuse_lack_of_space(folder: Path, needed: float) -> None:
    """OSError where the disk of `folder`, which need not exist yet, has fewer than `needed` bytes free."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if free < needed:
        raise OSError(f"{folder}: expected {needed:.0f} bytes free on the disk for what is to be written, got {free}")


def _sync(path: Path) -> None:
    """Have the disk take the content of a file, or the names in a folder."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
