"""Runs that were opened for a training to be watched, as files: what `record` finds them by, and completes.

A file a run, below `.tracking/live` at the project folder, with a lock beside it that the watching process holds as
long as it lives.
"""

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from src import files
from src.stores import FOLDER

KEPT_DAYS = 30  # after which a run whose training nobody recorded is left to MLflow as it is
WAIT_SECONDS = 60  # how long `record` waits for a watcher whose training has ended
KILLED = "KILLED"


class Note(NamedTuple):
    """A run that was opened; `store` is a hash of its URI, which may hold a password."""

    store: str
    run_id: str | None = None  # None: not opened yet
    end: str | None = None  # MLflow's word for how the training ended; None: it goes on
    training: str | None = None  # `runs.training_hash` of what it left
    told: bool = False  # MLflow knows the end


class Entry:
    """The file of one run; held by the process that opens it, for the length of a `with` block."""

    def __init__(self, root: Path, uri: str) -> None:
        """A new file for a run of that store."""
        self.path = folder(root) / f"{uuid.uuid4().hex}.json"
        self.value = Note(_hash(uri))
        self._one_by_one = threading.Lock()
        self._alive = _lock(self.path)

    def __enter__(self) -> "Entry":
        """Hold it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._alive.acquire(timeout=0)
        self.note()
        return self

    def __exit__(self, *error: object) -> None:
        """Let it go; it is deleted where nobody needs it: no run, or one that failed and is known to have."""
        if self.value.run_id is None or (self.value.told and self.value.training is None):
            self.path.unlink(missing_ok=True)
        self._alive.release()
        if not self.path.exists():
            Path(self._alive.lock_file).unlink(missing_ok=True)

    def note(self, **changes: object) -> None:
        """Change fields of the note."""
        with self._one_by_one:
            self.value = self.value._replace(**changes)
            files.write_text(self.path, json.dumps(self.value._asdict()))


def folder(root: Path) -> Path:
    """Where the files are."""
    return root / FOLDER / "live"


def wait(root: Path, uri: str, training: str) -> None:
    """Wait for the watchers that still tell MLflow of that training."""
    for path, note in _notes(root, uri):
        if note.training == training:
            with contextlib.suppress(Timeout), _lock(path).acquire(timeout=WAIT_SECONDS):
                pass


def finished(root: Path, uri: str, training: str) -> Iterator[tuple[Path, str]]:
    """The files and run ids of that training, whose watchers are gone."""
    for path, note in _left(root, uri):
        if note.training == training:
            yield path, note.run_id


def untold(root: Path, uri: str) -> Iterator[tuple[Path, str, str]]:
    """Files, run ids and ends of runs whose watchers are gone and did not tell MLflow how they ended."""
    for path, note in _left(root, uri):
        if not note.told:
            yield path, note.run_id, note.end or KILLED


def told(path: Path) -> None:
    """Note that MLflow knows the end; the file stays only where `record` may still complete the run."""
    note = _read(path)
    if note is None or note.training is None:
        remove(path)
    else:
        files.write_text(path, json.dumps(note._replace(told=True)._asdict()))


def prune(root: Path, uri: str) -> None:
    """Forget the runs that nobody completed in KEPT_DAYS."""
    oldest = time.time() - KEPT_DAYS * 86400
    for path, note in _left(root, uri):
        if note.told and path.stat().st_mtime < oldest:
            remove(path)


def remove(path: Path) -> None:
    """Forget a run."""
    path.unlink(missing_ok=True)
    path.with_suffix(".lock").unlink(missing_ok=True)


def _left(root: Path, uri: str) -> Iterator[tuple[Path, Note]]:
    """The notes that nobody holds."""
    for path, _ in _notes(root, uri):
        with contextlib.suppress(Timeout), _lock(path).acquire(timeout=0):
            note = _read(path)
            if note is not None and note.run_id is None:
                remove(path)
            elif note is not None:
                yield path, note


def _notes(root: Path, uri: str) -> list[tuple[Path, Note]]:
    found = [(path, _read(path)) for path in sorted(folder(root).glob("*.json"))]
    return [(path, note) for path, note in found if note is not None and note.store == _hash(uri)]


def _read(path: Path) -> Note | None:
    """None where it has just been deleted, or is of another version of this file."""
    try:
        return Note(**files.read_json(path))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _hash(uri: str) -> str:
    return hashlib.sha256(uri.encode()).hexdigest()
