import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from src import interruption

CHILD = """
import os, time
from src.interruption import stoppable
try:
    with stoppable():
        print(os.getpid(), flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
SHELL = ["/bin/sh", "-c", '"$0" "$@"; exit $?']  # which stays, as it has something left to do


def started(command: list[str], **environment: str) -> tuple[subprocess.Popen, int]:
    """A process that starts `command`, and the number of the process that says it is ready."""
    parent = [sys.executable, "-c", PARENT, *command]
    process = subprocess.Popen(parent, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("shell", [[], SHELL])
def test_stage_stops_when_dvc_is_killed(shell):
    process, _ = started([*shell, sys.executable, "-c", CHILD], DVC_STAGE="train")
    process.kill()
    assert process.communicate(timeout=30)[0] == "stopped\n"


def test_process_that_dvc_did_not_start_outlives_its_parent(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    process, number = started([sys.executable, "-c", CHILD])
    process.kill()
    process.wait()
    time.sleep(3 * interruption.POLL_SECONDS)
    child = psutil.Process(number)
    assert child.is_running()
    child.terminate()
    assert process.communicate(timeout=30)[0] == "stopped\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_is_a_keyboard_interrupt_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), interruption.stoppable():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_interrupt_that_python_drops_comes_again(monkeypatch):
    monkeypatch.setattr(interruption, "ECHO_SECONDS", 0.1)

    def dropped() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as where an object is deleted
            signal.raise_signal(signal.SIGTERM)
        threading.Event().wait(10)

    with pytest.raises(KeyboardInterrupt), interruption.stoppable():
        dropped()
