"""Processes forked from one that has imported TensorFlow, because that import takes longer than a tiny training."""

import atexit
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["stages.train", __name__])


class ForkedProcess:
    """A process that calls a function and writes its stderr to `log`."""

    def __init__(self, log: Path, function: Callable[..., object], *arguments: object, **variables: str) -> None:
        """Start it, with these environment variables beside those that held when the first one was started."""
        log.unlink(missing_ok=True)
        self._log = log
        self._process = FORKS.Process(target=_call, args=(log, variables, function, arguments), daemon=True)
        self._process.start()
        atexit.register(self._process.kill)  # where a test failed before its end: a suspended one ignores SIGTERM

    def is_running(self) -> bool:
        return self._process.is_alive()

    def send(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def suspend(self) -> None:
        self.send(signal.SIGSTOP)
        while psutil.Process(self._process.pid).status() != psutil.STATUS_STOPPED:
            time.sleep(0.01)

    def end(self, seconds: float = 150) -> tuple[int, str]:
        """Wait for its end; its exit code and what it wrote.

        Raises:
            TimeoutError: it did not end, and was killed.
        """
        self._process.join(seconds)
        if self.is_running():
            self._process.kill()
            raise TimeoutError(f"no end after {seconds:g} seconds:\n{self._log.read_text(encoding='utf-8')}")
        return self._process.exitcode, self._log.read_text(encoding="utf-8")


def _call(log: Path, variables: dict[str, str], function: Callable[..., object], arguments: tuple) -> None:
    os.environ |= variables
    with log.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 2)
    function(*arguments)
