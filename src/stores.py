"""The MLflow store that the project writes to: where it is, for one process at a time, and whether it answers."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import requests
from filelock import FileLock

FOLDER = ".tracking"  # at the project folder: what waits to be recorded, locks
LOCK_SECONDS = 120  # how long to wait for another process that records
ANSWER_SECONDS = 5  # how long a store may take to show that it is there


class Refused(OSError):
    """The store does not take the run."""


class Unreachable(Refused):
    """The store does not answer; it would take no other run either."""


def store(root: Path) -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, else the SQLite file `mlflow.db` in the project folder `root`.

    A relative SQLite path is taken from `root`, as the current folder of a DVC experiment does not last.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = sqlite_path(uri)
    return f"sqlite:///{root.resolve() / path}" if path and path != ":memory:" else uri


def shown(uri: str) -> str:
    """The URI as it may be printed, without user and password.

    >>> shown("https://me:secret@server:5000/mlflow")
    'https://server:5000/mlflow'
    """
    return re.sub(r"//[^/]*@", "//", uri)


@contextlib.contextmanager
def held(uri: str, root: Path) -> Iterator[None]:
    """The store for this process alone: two that make a new database leave it broken, two that look record twice.

    Raises:
        Unreachable: it cannot be opened, is locked, or does not answer; MLflow would try for minutes.
    """
    lock = Path(sqlite_path(uri) or root / FOLDER / "store")
    with contextlib.ExitStack() as stack:
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(FileLock(f"{lock}.lock", timeout=LOCK_SECONDS))
            _check(uri)
        except (sqlite3.Error, OSError) as error:
            raise Unreachable(f"{shown(uri)}: expected an MLflow store that answers, got: {error}") from error
        yield


def sqlite_path(uri: str) -> str | None:
    """The path in a URI of SQLite, empty for a database in memory; None for any other URI."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:/{0,3}([^?]*)(?:\?.*)?", uri)
    return found and found[1]


def _check(uri: str) -> None:
    """Raise at once for a database that cannot be written to, or a server that does not answer."""
    path = sqlite_path(uri)
    if path in ("", ":memory:"):
        raise OSError("a database in memory, which does not last")
    if path is not None:
        with contextlib.closing(sqlite3.connect(path, timeout=ANSWER_SECONDS)) as database:
            database.execute("BEGIN IMMEDIATE")
            database.rollback()
    elif uri.startswith(("http://", "https://")):
        with contextlib.suppress(requests.exceptions.SSLError):  # it is there; MLflow may be told to trust it
            requests.head(uri, timeout=ANSWER_SECONDS)
