"""Live logging: a process of its own, `src.tracking.live_logger`, logs the learning curves of a training to MLflow.

It is started and not imported: no change of its code re-trains, and no failure of it reaches the training.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from src.training import multi_worker

VARIABLE = "TRACKING_LIVE"
LOGGER_TIMEOUT = 5  # seconds that an ended training waits for the logger, which goes on alone if it needs longer


@contextlib.contextmanager
def logger_process(model: Path, table: Path) -> Iterator[None]:
    """Run the logger for the length of a block that writes `table`, a row an epoch, and then `model`.

    The logger reads from a pipe how the block ended: FINISHED, FAILED, or nothing where this process was killed. The
    environment variable TRACKING_LIVE=false turns it off; that is no parameter, as it changes no result.

    Raises:
        ValueError: the variable has another value than true or false.
    """
    enabled = (os.environ.get(VARIABLE) or "true").lower()
    if enabled not in ("true", "false"):
        raise ValueError(f"{VARIABLE}: expected true or false, got {enabled!r}")
    logger, status = _start_logger(model, table) if enabled == "true" else None, "FAILED"
    try:
        yield
        status = "FINISHED"
    finally:
        if logger is not None:
            with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):  # a second Ctrl-C ends the wait
                logger.communicate(status, timeout=LOGGER_TIMEOUT)


def _start_logger(model: Path, table: Path) -> subprocess.Popen[str] | None:
    """Start the logger; of several workers that train one network, only the first has one."""
    if not multi_worker.read_cluster().is_first:
        return None
    stale = table.stat().st_mtime_ns if table.exists() else 0  # of an earlier training, until it is written anew
    command = [sys.executable, "-m", "src.tracking.live_logger", str(model), str(table), str(stale)]
    try:  # in a session of its own: Ctrl-C ends the training, and the logger reports that
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True, text=True
        )
    except OSError as error:
        tqdm.write(f"warning: live logging cannot be started: {error}", file=sys.stderr)
        return None
