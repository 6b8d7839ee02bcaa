import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from src.common import process_pool

SECONDS = 10  # in which processes that are ended end, on a machine that is busy
FOREVER = 600
PARENT = """
import sys
from pathlib import Path
from src.common import process_pool
from test_process_pool import note_and_sleep
if __name__ == "__main__":
    with process_pool.worker_pool(note_and_sleep, [(Path(sys.argv[1]),)] * 4, 2) as done:
        list(done)
"""


def add(one: int, other: int) -> int:
    return one + other


def fail_or_sleep(fails: bool) -> None:
    if fails:
        raise ValueError("broken")
    time.sleep(FOREVER)


def note_and_sleep(folder: Path) -> None:
    """Leave the id of this process as the name of a file."""
    (folder / str(os.getpid())).touch()
    time.sleep(FOREVER)


def started_workers(folder: Path, number: int) -> list[psutil.Process]:
    """Wait for that many workers to begin."""
    until = time.monotonic() + 60
    while len(names := os.listdir(folder)) < number:
        assert time.monotonic() < until
        time.sleep(0.02)
    return [psutil.Process(int(name)) for name in names]


def assert_ended(processes: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(processes, SECONDS)
    for process in alive:
        process.kill()
    assert not alive


def test_results_come_in_the_order_of_the_jobs():
    with process_pool.worker_pool(add, [(number, 1) for number in range(5)], 2) as done:
        assert list(done) == [1, 2, 3, 4, 5]


def test_killed_worker_is_an_error_message(tmp_path):
    with pytest.raises(OSError, match="was killed, perhaps for lack of memory"):  # noqa: PT012, SIM117
        with process_pool.worker_pool(note_and_sleep, [(tmp_path,)] * 4, 2) as done:
            processes = started_workers(tmp_path, 2)
            processes[0].kill()
            list(done)
    assert_ended(processes)


def test_interrupt_kills_workers_and_cancels_pending_jobs(tmp_path):
    with pytest.raises(KeyboardInterrupt), process_pool.worker_pool(note_and_sleep, [(tmp_path,)] * 9, 2):  # noqa: PT012
        processes = started_workers(tmp_path, 2)
        begin = time.monotonic()
        raise KeyboardInterrupt
    assert time.monotonic() - begin < SECONDS
    assert len(os.listdir(tmp_path)) == 2
    assert_ended(processes)


def test_error_of_one_job_does_not_wait_for_the_others():
    begin = time.monotonic()
    with (
        pytest.raises(ValueError, match="broken"),
        process_pool.worker_pool(fail_or_sleep, [(True,), (False,)], 2) as done,
    ):
        list(done)
    assert time.monotonic() - begin < FOREVER / 10


@pytest.mark.slow
def test_workers_end_when_the_main_process_is_killed(tmp_path):
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parent)}  # beside the current folder
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        processes = started_workers(tmp_path, 2)
        parent.send_signal(signal.SIGKILL)
    assert_ended(processes)


def test_workers_leave_terminal_signals_to_the_main_process(tmp_path):
    with pytest.raises(KeyboardInterrupt), process_pool.worker_pool(note_and_sleep, [(tmp_path,)] * 2, 2):  # noqa: PT012
        processes = started_workers(tmp_path, 2)
        for process in processes:
            process.send_signal(signal.SIGINT)
            process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert all(process.is_running() for process in processes)
        raise KeyboardInterrupt
    assert_ended(processes)
