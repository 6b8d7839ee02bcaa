"""MLflow tracking stores: their URIs, their errors in one line, and exclusive access to one of them."""

import contextlib
import os
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import requests
from filelock import FileLock

from src.common import atomic_io
from src.tracking.mlflow_setup import DATABASE_ENGINES, MlflowClient, entities

DATABASE = "mlflow.db"  # of the local store, in the project folder
ARTIFACTS = "mlruns"  # folder of the files of runs, beside it
URI_VARIABLE = "MLFLOW_TRACKING_URI"
LOCK_SECONDS = 120.0  # wait for another process that records or sends
TIMEOUT_SECONDS = 5.0  # wait for a server or a locked database


class TrackingError(OSError):
    """An MLflow store failed; the message names the store, without credentials, and the cause."""


def local_uri(root: Path) -> str:
    """Return the URI of the local store of the project folder `root`."""
    return f"sqlite:///{root.resolve() / DATABASE}"


def tracking_uri(root: Path) -> str:
    """Return MLFLOW_TRACKING_URI, or the URI of the local store; a relative SQLite path is taken from `root`."""
    uri = os.environ.get(URI_VARIABLE) or local_uri(root)
    path = sqlite_path(uri)
    return f"sqlite:///{root.resolve() / path}" if path and path != ":memory:" else uri


def redact_credentials(uri: str) -> str:
    """Return the URI without user and password, to be printed.

    >>> redact_credentials("https://me:secret@server:5000/mlflow")
    'https://server:5000/mlflow'
    """
    return re.sub(r"//[^/\s]*@", "//", uri)


def sqlite_path(uri: str) -> str | None:
    """Return the path in a URI of SQLite, empty for a database in memory; None for any other URI."""
    found = re.fullmatch(r"sqlite(?:\+\w+)?:/{0,3}([^?]*)(?:\?.*)?", uri)
    return found and found[1]


@contextlib.contextmanager
def readable_errors(uri: str) -> Iterator[None]:
    """Raise TrackingError for whatever MLflow, its database, a server, a driver or the disk raises in the block."""
    try:
        yield
    except TrackingError:
        raise
    except Exception as error:  # artifact stores raise what their drivers do, that of S3 a plain Exception
        raise TrackingError(redact_credentials(f"MLflow store {uri}: {first_line(error)}")) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error message, and the next after a colon, without credentials; there may be many."""
    lines = (str(error).strip() or type(error).__name__).splitlines()
    return redact_credentials(" ".join(line.strip() for line in lines[: 1 + lines[0].rstrip().endswith(":")]))


@contextlib.contextmanager
def open_store(uri: str, root: Path) -> Iterator[MlflowClient]:
    """Open a store for this process alone, and create the database of a new SQLite store.

    Two processes that create one database leave it broken, and two that search for a run before they record it
    record it twice.

    Args:
        uri: the store.
        root: the project folder, which holds the lock of a server.

    Raises:
        TrackingError: the store cannot be opened, is locked or out of reach.
    """
    path = sqlite_path(uri)
    with contextlib.ExitStack() as stack:
        with readable_errors(uri):
            stack.enter_context(FileLock(f"{path}.lock" if path else root / f"{DATABASE}.sync.lock", LOCK_SECONDS))
            if path is not None:
                _create_database(Path(path))
            check_reachable(uri)
            client = MlflowClient(uri, registry_uri=uri if uri == local_uri(root) else None)
        yield client


def check_reachable(uri: str) -> None:
    """Raise TrackingError within seconds for a store that is out of reach, where MLflow would retry for minutes."""
    path = sqlite_path(uri)
    with readable_errors(uri):
        if path is not None:
            with contextlib.closing(sqlite3.connect(path, timeout=TIMEOUT_SECONDS)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
        elif uri.startswith(("http://", "https://")):
            with contextlib.suppress(requests.exceptions.SSLError):  # it is there; MLflow may be told to trust it
                requests.head(uri, timeout=TIMEOUT_SECONDS)


def find_experiment(client: MlflowClient, name: str, root: Path) -> entities.Experiment:
    """Return the experiment of that name, created where it is missing.

    In a database, its files go to the folder `mlruns` beside an SQLite file or in the project folder: MLflow's default
    is the current folder, which does not outlive a DVC experiment.

    Raises:
        TrackingError: the experiment was deleted in MLflow.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        uri = client.tracking_uri
        path = sqlite_path(uri)
        folder = (Path(path).parent if path else root.resolve()) / ARTIFACTS
        in_database = uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES
        found = client.get_experiment(client.create_experiment(name, folder.as_uri() if in_database else None))
    if found.lifecycle_stage != "active":
        raise TrackingError(f"experiment {name!r} was deleted in MLflow: restore it, or choose another name")
    return found


@contextlib.contextmanager
def as_default_store(uri: str) -> Iterator[None]:
    """Make a store MLflow's default in the block, for its few functions that take no client."""
    before = os.environ.get(URI_VARIABLE)
    os.environ[URI_VARIABLE] = uri
    try:
        yield
    finally:
        del os.environ[URI_VARIABLE]
        if before is not None:
            os.environ[URI_VARIABLE] = before


def _create_database(path: Path) -> None:
    """Create a database beside its place and move it there: one whose creation is interrupted stays broken."""
    if str(path) in ("", ".", ":memory:"):
        raise OSError("expected a database that lasts, got one in memory")
    if path.is_file() and path.stat().st_size:
        return
    part = path.with_name(f"{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
        atomic_io.atomic_rename(part, path)
    finally:
        part.unlink(missing_ok=True)
