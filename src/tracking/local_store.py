"""The local MLflow store, `mlflow.db` and `mlruns/` in the project folder: every run is logged there first."""

import contextlib
import os
import platform
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import psutil

from src.tracking.mlflow_setup import MlflowClient, entities, get_results_from_paginated_fn
from src.tracking.run_tags import MACHINE
from src.tracking.tracking_store import ARTIFACTS, local_uri, open_store, readable_errors, sqlite_path

PAGE_SIZE = 1000  # runs in one answer of a store
PROCESS_ID, PROCESS_START = "process.id", "process.start_time"  # tags: the process that logs the run
CLOCK_TOLERANCE = 2.0  # seconds between two readings of the start time of one process
LOCATIONS = (  # columns of the database that hold places of files
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)


@contextlib.contextmanager
def open_local_store(root: Path) -> Iterator[MlflowClient]:
    """Open the store of the project folder `root` for this process alone.

    Where the folder was moved, the places of files are corrected. Runs whose process died are closed as KILLED.

    Raises:
        TrackingError: the store cannot be opened, or an operation in the block fails.
    """
    uri = local_uri(root)
    with readable_errors(uri), open_store(uri, root) as client:
        update_locations(Path(sqlite_path(uri) or ""), root.resolve() / ARTIFACTS)
        for run in search(client, "attributes.status = 'RUNNING'"):
            if _is_abandoned(run):
                client.set_terminated(run.info.run_id, "KILLED")
        yield client


def search(client: MlflowClient, query: str) -> list[entities.Run]:
    """Return the runs of all experiments of a store that a query of MLflow finds, oldest first."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    order = ["attributes.start_time ASC"]
    return get_results_from_paginated_fn(
        lambda size, token: client.search_runs(experiments, query, max_results=size, order_by=order, page_token=token),
        PAGE_SIZE,
    )


def process_tags() -> dict[str, str]:
    """Return the tags that name this process, for a run that it logs."""
    process = psutil.Process()
    return {MACHINE: platform.node(), PROCESS_ID: str(os.getpid()), PROCESS_START: str(process.create_time())}


def _is_abandoned(run: entities.Run) -> bool:
    """Whether a running run was begun on this machine by a process that no longer exists."""
    tags = run.data.tags
    if tags.get(MACHINE) != platform.node() or PROCESS_ID not in tags:
        return False
    try:
        started = psutil.Process(int(tags[PROCESS_ID])).create_time()
    except psutil.NoSuchProcess:
        return True
    return abs(started - float(tags[PROCESS_START])) > CLOCK_TOLERANCE  # else the number is another process's now


def update_locations(database: Path, artifacts: Path) -> None:
    """Correct the absolute places in the database of a project folder that was moved or copied.

    New files would go to the old place otherwise, which then comes to exist again. A run whose files are only at the
    old place keeps it.

    Args:
        database: the SQLite file.
        artifacts: the folder where the files of runs belong now.
    """
    new, corrected = artifacts.as_uri(), 0
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        ours = connection.execute("SELECT artifact_location FROM experiments WHERE artifact_location LIKE '%/' || ?",
                                  (ARTIFACTS,)).fetchall()  # fmt: skip
        for (old,) in ours:
            if old == new or not old.startswith("file:"):
                continue
            for table, column in LOCATIONS:
                query = f"SELECT rowid, {column} FROM {table} WHERE substr({column} || '/', 1, ?) = ?"
                for row, place in connection.execute(query, (len(old) + 1, f"{old}/")).fetchall():
                    moved = new + place[len(old) :]
                    if table == "experiments" or local_path(moved).exists() or not local_path(place).exists():
                        connection.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (moved, row))
                        corrected += 1
    if corrected:
        print(f"the project folder was moved: {corrected} places in {database} are corrected", file=sys.stderr)


def local_path(uri: str) -> Path:
    """Return the path of a `file:` URI."""
    return Path(unquote(urlsplit(uri).path))
