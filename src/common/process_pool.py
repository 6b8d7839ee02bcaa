"""Pool of worker processes that end when the main process stops or is killed."""

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from typing import TypeVar

from src.common import atomic_io

TERMINAL_SIGNALS = {signal.SIGINT, signal.SIGTERM}  # which a terminal or `timeout` sends to the workers as well
Result = TypeVar("Result")


@contextlib.contextmanager
def worker_pool(function: Callable[..., Result], jobs: Sequence[tuple], max_workers: int) -> Iterator[Iterator[Result]]:
    """Run `function` with the arguments of each job in new processes; yield the results, in the order of the jobs.

    An exception that leaves the block kills the workers at once, and so does the end of this process by any signal.

    Raises:
        OSError: a worker was killed.
    """
    others = set(active_children())
    pool = ProcessPoolExecutor(min(max_workers, len(jobs)), get_context("spawn"), initializer=_end_with_parent)
    try:
        with atomic_io.uninterrupted():  # an interrupt in here would leave a worker that is not yet known
            results = _submit(pool, function, jobs)
        yield results
    except BaseException as error:
        pool.shutdown(wait=False, cancel_futures=True)  # first: a pool that lost a worker fails all pending jobs
        started = set(active_children()) - others
        for process in started:
            process.kill()
        for process in started:
            process.join()
        if isinstance(error, BrokenProcessPool):
            raise OSError("a worker process was killed, perhaps for lack of memory") from error
        raise
    pool.shutdown()


def _submit(pool: ProcessPoolExecutor, function: Callable[..., Result], jobs: Sequence[tuple]) -> Iterator[Result]:
    """Start the workers with `TERMINAL_SIGNALS` blocked from their first instruction: this process handles those."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, TERMINAL_SIGNALS)
    try:
        return pool.map(function, *zip(*jobs, strict=True))
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _end_with_parent() -> None:
    """Watch the parent process and exit when it ends, which `kill -9` does not announce."""
    parent = parent_process()
    if parent is None:  # not a worker
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
