import os
import signal
import subprocess
import time

import psutil
import pytest

from robustness import scratch_project

LARGE = {"phantom": {"n_train": 6, "n_test": 2, "height": 3000, "width": 3000}}  # ten seconds or more per image


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_download_ends_in_seconds_and_leaves_no_process(tmp_path, number):
    scratch_project.write_params(tmp_path, LARGE)
    command, streams = scratch_project.commands()["download"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    options = {"cwd": tmp_path, "env": scratch_project.environment(), "start_new_session": True, "text": True}
    process = subprocess.Popen(command, **options, **streams)
    workers = busy_workers(process)
    begin = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, alive = psutil.wait_procs([psutil.Process(process.pid), *workers], timeout=6)
    for left in alive:
        left.kill()
    stderr = process.communicate()[1]
    assert not alive
    assert time.monotonic() - begin < 6
    assert stderr.splitlines()[-1] == "stopped"
    assert "Traceback" not in stderr
    assert not list(tmp_path.glob("data/raw/*"))


def busy_workers(stage: subprocess.Popen) -> list[psutil.Process]:
    """Wait until each worker of the stage has computed for longer than its start takes."""
    while True:
        assert stage.poll() is None, stage.stderr.read()
        children = psutil.Process(stage.pid).children()
        workers = [child for child in children if "--multiprocessing-fork" in child.cmdline()]
        if workers and all(child.cpu_times().user > 2 for child in workers):
            return workers
        time.sleep(0.1)
