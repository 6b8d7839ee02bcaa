"""Log the learning curves of a training to the local MLflow store while it runs.

    python -m src.tracking.live_logger MODEL TABLE STALE

`training/live_logging.py` starts this process and writes to its standard input how the training ended. Nothing that
happens here reaches the training. A failure is one warning, and stage record logs what is missing.
"""

import contextlib
import os
import select
import sys
import time
from pathlib import Path
from typing import NamedTuple, TextIO

import pandas as pd

from src.common.project_root import real_root
from src.evaluation import result_tables
from src.params import Params, load_params
from src.tracking import mlflow_logger, run_tags
from src.tracking.local_store import open_local_store, search
from src.tracking.mlflow_setup import MlflowClient, SystemMetricsMonitor
from src.tracking.run_tags import FINGERPRINT, TRAINING
from src.tracking.tracking_store import TrackingError, find_experiment, local_uri, readable_errors

POLL_SECONDS = 1.0  # between two looks at the table
NICENESS = 5  # the training has priority


class Training(NamedTuple):
    """The files that a training writes.

    Attributes:
        model: the weights.
        table: the learning curves, a row an epoch.
        stale: modification time (ns) of the table of an earlier training, which may still be there; 0 for none.
    """

    model: Path
    table: Path
    stale: int

    def rows(self) -> pd.DataFrame:
        """Read the rows that are written so far."""
        with contextlib.suppress(FileNotFoundError):
            if self.table.stat().st_mtime_ns != self.stale:
                return result_tables.read(self.table)
        return pd.DataFrame()


def follow(training: Training, params: Params, end: TextIO, project: Path = Path()) -> None:
    """Log a training as a run until the stream `end` closes, which says how it ended; nothing means that it was killed.

    Raises:
        TrackingError: the run cannot be opened or closed.
    """
    root = real_root(project)
    run_id, client = _open_run(training, params, project, root), MlflowClient(local_uri(root))
    monitor = SystemMetricsMonitor(run_id, tracking_uri=local_uri(root))
    status, hash_, logged, has_failed = None, None, 0, False
    monitor.start()
    with contextlib.ExitStack() as stack:
        stack.callback(monitor.finish)
        while status is None:
            status = _read_end(end)
            if status == "FINISHED":
                with contextlib.suppress(FileNotFoundError):  # the folder of a DVC experiment may be deleted already
                    hash_ = run_tags.training_hash(training.model, training.table)
            try:  # what fails is tried again with the next rows
                logged += _log_rows(client, run_id, training.rows()[logged:])
            except (OSError, ValueError) as error:
                has_failed = has_failed or warn(error)
    _close_run(run_id, status, hash_, root)


def _open_run(training: Training, params: Params, project: Path, root: Path) -> str:
    """Open a run with tags and the params of the training."""
    tags = {**run_tags.environment_tags(project, training.table.parent), mlflow_logger.STAGE: "train"}
    sections = {name: params.model_dump()[name] for name in mlflow_logger.TRAIN_SECTIONS}
    with open_local_store(root) as client:
        experiment = find_experiment(client, mlflow_logger.experiment_name(params.record.experiment_name), root)
        run_id = mlflow_logger.create_run(client, experiment, tags)
        mlflow_logger.log_batches(client, run_id, params=mlflow_logger.as_params(sections))
    return run_id


def _read_end(end: TextIO) -> str | None:
    """Wait POLL_SECONDS for the end of the training; None while it goes on."""
    readable, _, _ = select.select([end], [], [], POLL_SECONDS)
    return (end.read().strip() or "KILLED") if readable else None


def _log_rows(client: MlflowClient, run_id: str, rows: pd.DataFrame) -> int:
    """Log new rows; returns how many."""
    if not rows.empty:
        with readable_errors(client.tracking_uri):
            curves = mlflow_logger.learning_curves(rows, time.time_ns() // 1_000_000)
            mlflow_logger.log_batches(client, run_id, curves)
    return len(rows)


def _close_run(run_id: str, status: str, hash_: str | None, root: Path) -> None:
    """Close the run; delete it where the training is recorded already, as stage record did not wait for it."""
    with open_local_store(root) as client:
        if hash_ is not None:
            client.set_tag(run_id, TRAINING, hash_)
        client.set_terminated(run_id, status)
        start = client.get_run(run_id).info.start_time
        later = search(client, f"tags.{TRAINING} = '{hash_}' AND attributes.end_time > {start}")
        is_recorded = hash_ is None or any(FINGERPRINT in run.data.tags for run in later)
        if status == "FINISHED" and is_recorded:
            client.delete_run(run_id)


def warn(error: OSError | ValueError) -> bool:
    """Print one line for the person who looks at the training; True."""
    print(f"warning: live logging of this training failed: {error}", file=sys.stderr)
    return True


def main(arguments: list[str]) -> None:
    """Follow the training whose files are given."""
    os.nice(NICENESS)
    model, table, stale = arguments
    try:
        params = load_params()
    except (ValueError, OSError):
        return  # the training reports it
    try:
        follow(Training(Path(model), Path(table), int(stale)), params, sys.stdin)
    except TrackingError as error:
        warn(error)


if __name__ == "__main__":
    main(sys.argv[1:])
