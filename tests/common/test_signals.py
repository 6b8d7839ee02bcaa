import contextlib
import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest

from robustness import scratch_project
from src.common import signals

CHILD = """
import os, time
from src.common.signals import graceful_stop
try:
    with graceful_stop():
        print(os.getpid(), flush=True)
        time.sleep(60)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"
SHELL = ["/bin/sh", "-c", '"$0" "$@"; exit $?']  # stays in memory, as it has another command to run

SLOW_IMPORT = """
import importlib.abc, sys, time

class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "numpy":
            sys.meta_path.remove(self)
            print("imports", flush=True)
            time.sleep(3)

sys.meta_path.insert(0, Finder())
"""


def started(command: list[str], **environment: str) -> tuple[subprocess.Popen, int]:
    """Start a parent process of `command`; return it, and the id that the child prints."""
    parent = [sys.executable, "-c", PARENT, *command]
    process = subprocess.Popen(parent, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())


@pytest.mark.parametrize("shell", [[], SHELL])
def test_stage_stops_when_dvc_is_killed(shell):
    process, _ = started([*shell, sys.executable, "-c", CHILD], DVC_STAGE="train")
    process.kill()
    assert process.communicate(timeout=30)[0] == "stopped\n"


@pytest.mark.slow
def test_process_that_dvc_did_not_start_outlives_its_parent(monkeypatch):
    monkeypatch.delenv("DVC_STAGE", raising=False)
    process, number = started([sys.executable, "-c", CHILD])
    process.kill()
    process.wait()
    time.sleep(3 * signals.POLL_SECONDS)
    child = psutil.Process(number)
    assert child.is_running()
    child.terminate()
    assert process.communicate(timeout=30)[0] == "stopped\n"


@pytest.mark.slow
def test_stage_stops_when_dvc_is_killed_while_it_imports(tmp_path):
    scratch_project.write_params(tmp_path, {"phantom": {"n_train": 5000}})  # it would take minutes
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    environment = scratch_project.environment(DVC_STAGE="download")
    environment["PYTHONPATH"] += f"{os.pathsep}{tmp_path}"
    command = [sys.executable, "-c", PARENT, *scratch_project.commands()["download"]]
    options = {"cwd": tmp_path, "env": environment, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    try:
        while process.stdout.readline() != "imports\n":
            assert process.poll() is None
        process.kill()
        assert process.communicate(timeout=60)[1].splitlines()[-1] == "stopped"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_is_a_keyboard_interrupt_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), signals.graceful_stop():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_interrupt_that_python_drops_comes_again(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.1)

    def dropped() -> None:
        with contextlib.suppress(KeyboardInterrupt):  # as where an object is deleted
            signal.raise_signal(signal.SIGTERM)
        threading.Event().wait(10)

    with pytest.raises(KeyboardInterrupt), signals.graceful_stop():
        dropped()


def cleaned_up(first: signal.Signals, second: signal.Signals, seconds: float = 0) -> bool:
    """Whether what cleans up on an interrupt's way out comes to its end, hit by a second signal and after seconds."""
    cleaned = []

    def work() -> None:
        try:
            signal.raise_signal(first)
        finally:
            signal.raise_signal(second)
            time.sleep(seconds)
            cleaned.append(True)

    with pytest.raises(KeyboardInterrupt), signals.graceful_stop():
        work()
    return bool(cleaned)


@pytest.mark.parametrize("second", [signal.SIGALRM, signal.SIGTERM])
@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_neither_echo_nor_sigterm_breaks_off_cleaning_up(monkeypatch, first, second):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.1)
    assert cleaned_up(first, second, seconds=0.5)


def test_echo_does_not_break_off_the_handling_of_an_error_in_cleaning_up(monkeypatch):
    monkeypatch.setattr(signals, "ECHO_SECONDS", 0.1)
    seen = []

    def work() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            try:
                raise OSError
            except OSError:
                time.sleep(0.5)
                seen.append(True)

    with pytest.raises(KeyboardInterrupt), signals.graceful_stop():
        work()
    assert seen


def test_second_ctrl_c_breaks_off_cleaning_up():
    assert not cleaned_up(signal.SIGTERM, signal.SIGINT)
