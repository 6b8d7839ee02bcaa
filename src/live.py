"""Lets a training be watched while it runs: starts `python -m src.watch`, and tells it how the training ended.

The watcher is started and not imported: no change of it re-trains, and nothing that happens to it reaches the training.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from src import cluster

PATIENCE = 5  # seconds that the end of a training waits for its watcher, which goes on alone if need be


@contextlib.contextmanager
def watched(model: Path, table: Path) -> Iterator[None]:
    """A process of its own follows `table`, a row an epoch, for the length of a block that leaves it and `model`.

    It learns the end from a pipe: FINISHED, FAILED, or nothing where this process was killed. With TRACKING_LIVE=false
    in the environment nobody follows; that is no parameter, since it is no part of a run's state.
    """
    off = os.environ.get("TRACKING_LIVE", "true").lower() == "false"
    watcher, end = None if off else _start(model, table), "FAILED"
    try:
        yield
        end = "FINISHED"
    finally:
        if watcher is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C ends the wait
                watcher.communicate(end, timeout=PATIENCE)


def _start(model: Path, table: Path) -> subprocess.Popen | None:
    """The watcher; none beside the second and further workers that train one network."""
    if not cluster.read().first:
        return None
    stale = table.stat().st_mtime_ns if table.exists() else 0  # of an earlier training, until it is written anew
    command = [sys.executable, "-m", "src.watch", str(model), str(table), str(stale)]
    try:  # in a session of its own: Ctrl-C ends the training, and the watcher reports that
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, text=True
        )
    except OSError as error:
        tqdm.write(f"warning: this training cannot be watched: {error}", file=sys.stderr)
        return None
