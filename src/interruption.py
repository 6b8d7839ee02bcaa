"""Stop a stage on Ctrl-C, on SIGTERM, and when DVC, which started it, is no more."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil

SHELLS = ("sh", "dash", "ash", "bash", "zsh", "fish", "busybox")
POLL_SECONDS = 0.5
ECHO_SECONDS = 2.0


def _starters() -> list[int]:
    """The process that started this one, and who started that where it is a shell: DVC's, as some do not make way."""
    try:
        parent = psutil.Process(os.getppid())
        return [parent.pid, parent.ppid()] if parent.name() in SHELLS else [parent.pid]
    except psutil.Error:  # it ended while it was looked at
        return []


STARTERS = _starters()  # at import, the first of every stage: DVC may not live through the seconds of the others


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """In the block, SIGTERM and the end of DVC raise KeyboardInterrupt, as Ctrl-C does, in the main thread.

    DVC killed by SIGTERM leaves the processes of its stages behind. The parent is polled rather than asked of Linux
    (PR_SET_PDEATHSIG), which signals when the *thread* that started a process ends and does not exist elsewhere.
    A stage that was started by hand outlives its shell, as a user of nohup expects.
    """
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = {number: signal.signal(number, _stop) for number in numbers}
    done = threading.Event()
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch_parent, args=(done,), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    """Raise, and soon again: Python drops an exception that is raised while it deletes an object.

    While what was raised is on its way out, through blocks that clean up, only Ctrl-C raises again.
    """
    signal.setitimer(signal.ITIMER_REAL, ECHO_SECONDS)
    if number == signal.SIGINT or not _on_its_way(sys.exception()):
        raise KeyboardInterrupt


def _on_its_way(error: BaseException | None) -> bool:
    """Whether the exception that is handled at this moment is an interrupt, or was raised while one was handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _watch_parent(done: threading.Event) -> None:
    """Send SIGTERM to the main thread when another process has become the parent of this one or of its shell."""
    while _starters() == STARTERS:
        if done.wait(POLL_SECONDS):
            return
    signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
