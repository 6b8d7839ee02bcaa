"""Other processes that work for this one, and end when it stops or dies."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from typing import Any

from src import files

STOPS = {signal.SIGINT, signal.SIGTERM}  # which a terminal or `timeout` sends to the workers as well


@contextlib.contextmanager
def working(function: Callable, jobs: Sequence[tuple], most: int) -> Iterator[Iterator[Any]]:
    """In the block, what `function` returns for the arguments of each job, in order, from `most` new processes.

    An exception that ends the block ends them in the middle of their work; so does the end of this process, by
    whatever signal.

    Raises:
        OSError: one of them was killed.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(min(most, len(jobs)), get_context("spawn"), initializer=_end_with_parent)
    try:
        with files.uninterrupted():  # else a process could be started that nobody knows of
            results = _begin(pool, function, jobs)
        yield results
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)  # first, as a pool that lost a worker fails all that is pending
        started = set(active_children()) - others
        for process in started:
            process.kill()
        for process in started:
            process.join()
        if isinstance(error, BrokenProcessPool):
            raise OSError("a process that worked for this one was killed, perhaps for lack of memory") from error
        raise
    pool.shutdown()


def _begin(pool: ProcessPoolExecutor, function: Callable, jobs: Sequence[tuple]) -> Iterator[Any]:
    """Start the processes; what this one answers for them is blocked there from the start, imports included."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    try:
        return pool.map(function, *zip(*jobs, strict=True))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """End this process, in the middle of its work, when its parent is no more, which `kill -9` does not announce."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
