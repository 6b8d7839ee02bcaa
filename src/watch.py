"""Logs the learning curves of a training to MLflow while it runs: python -m src.watch MODEL TABLE STALE.

`live.watched` starts it, and writes how the training ended to its standard input. It goes on to nobody's cost: whatever
MLflow refuses is one warning, and `record` makes up for it.
"""

import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TextIO

import pandas as pd

from src import handover, runs, tables, tracking
from src.params import Params, load_params
from src.root import real_root
from src.stores import store

POLL_SECONDS = 1.0  # between two looks at the table
NICENESS = 5  # the training goes first


class Training(NamedTuple):
    """Where a training leaves its weights and its row an epoch; `stale` is the time (ns) of an earlier table, or 0."""

    model: Path
    table: Path
    stale: int

    def rows(self) -> pd.DataFrame:
        """The rows so far."""
        try:
            if self.table.stat().st_mtime_ns != self.stale:
                return tables.read(self.table)
        except FileNotFoundError:
            pass
        return pd.DataFrame()


def watch(training: Training, params: Params, end: TextIO, project: Path = Path()) -> None:
    """Follow a training until the stream `end` closes, which says how it ended; nothing is said of one that was killed.

    What it left behind is noted at once: the folder of an experiment is deleted soon after.
    """
    root, over = real_root(project), threading.Event()
    with handover.Entry(root, store(root)) as entry, ThreadPoolExecutor(1) as pool:
        follower = pool.submit(_follow, training, params, project, entry, over)
        try:
            entry.note(end=end.read().strip() or handover.KILLED)
            if entry.value.end == "FINISHED":
                entry.note(training=runs.training_hash(training.model, training.table))
        finally:
            over.set()
        follower.result()


def _follow(training: Training, params: Params, project: Path, entry: handover.Entry, over: threading.Event) -> None:
    """Open a run, log each row as it comes, close the run; one warning where MLflow refuses."""
    root, sent = real_root(project), 0
    try:
        tags = runs.surroundings(project, training.table.parent)
        run_id = tracking.open_run(tags, params.record.experiment, root)
        entry.note(run_id=run_id)
        tracking.log_params(run_id, params.model_dump(), root)
        with tracking.system_metrics(run_id, root):
            last = False
            while not last:
                last = over.wait(POLL_SECONDS)
                rows = training.rows()
                if len(rows) > sent:
                    tracking.log_epochs(run_id, rows[sent:], time.time_ns() // 1_000_000, root)
                    sent = len(rows)
        tracking.close_run(run_id, entry.value.end, root)
        entry.note(told=True)
    except (OSError, ValueError) as error:  # of MLflow, or of a table that is none
        warn(error)


def warn(error: OSError | ValueError) -> None:
    """One sentence to people who look at the training."""
    print(f"warning: this training can no longer be watched in MLflow: {error}", file=sys.stderr)


if __name__ == "__main__":
    os.nice(NICENESS)
    try:
        checked = load_params()
    except (ValueError, OSError):
        sys.exit()  # the training says why
    try:
        watch(Training(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])), checked, sys.stdin)
    except OSError as error:
        warn(error)
