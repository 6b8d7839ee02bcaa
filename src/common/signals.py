"""Stop a stage on Ctrl-C, on SIGTERM, and when the DVC process that started it ends."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

import psutil

from src.common.atomic_io import INTERRUPTS

SHELLS = ("sh", "dash", "ash", "bash", "zsh", "fish", "busybox")
POLL_SECONDS = 0.5
ECHO_SECONDS = 2.0


def _starters() -> list[int]:
    """Process ids of the parent and, where that is a shell that DVC started, of the shell's parent."""
    try:
        parent = psutil.Process(os.getppid())
        return [parent.pid, parent.ppid()] if parent.name() in SHELLS else [parent.pid]
    except psutil.Error:  # the parent has just ended
        return []


STARTERS = _starters()  # read at import, before the slow imports of a stage: DVC may end during these


@contextlib.contextmanager
def graceful_stop() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread on SIGTERM and on the end of DVC, as on Ctrl-C, while in the block.

    DVC killed by SIGTERM leaves the processes of its stages behind. The parent is polled, since Linux's own signal
    (PR_SET_PDEATHSIG) comes when the *thread* that started a process ends, and does not exist on other systems.
    A stage that was started by hand outlives its shell, as a user of nohup expects.
    """
    before = {number: signal.signal(number, _stop) for number in INTERRUPTS}
    done = threading.Event()
    if "DVC_STAGE" in os.environ:
        threading.Thread(target=_watch_parent, args=(done,), daemon=True).start()
    try:
        yield
    finally:
        done.set()
        _set_alarm(0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int, frame: object) -> None:
    """Raise KeyboardInterrupt, and again by an alarm: Python drops an exception raised while it deletes an object.

    While an interrupt is already unwinding the stack, through blocks that clean up, only Ctrl-C raises again.
    """
    _set_alarm(ECHO_SECONDS)
    if number == signal.SIGINT or not _is_interrupt(sys.exception()):
        raise KeyboardInterrupt


def _set_alarm(seconds: float) -> None:
    """Set or, by 0, cancel the alarm, where the system has alarms (Windows has none)."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)


def _is_interrupt(error: BaseException | None) -> bool:
    """Return whether an exception that is being handled is an interrupt, or was raised while one was handled."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


def _watch_parent(done: threading.Event) -> None:
    """Send SIGTERM to the main thread when this process, or its shell, has got another parent."""
    while _starters() == STARTERS:
        if done.wait(POLL_SECONDS):
            return
    if (main := threading.main_thread().ident) is not None:
        signal.pthread_kill(main, signal.SIGTERM)
