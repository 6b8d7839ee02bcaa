import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src.training import live_logging

LOGGER = """
import os, pathlib, sys
pathlib.Path("started").write_text(" ".join([*sys.argv[1:], str(os.getsid(0) == os.getpid())]))
pathlib.Path("ended").write_text("ended: " + sys.stdin.read())
"""
TRAINING = """
import pathlib, time
from src.training import live_logging
with live_logging.logger_process(pathlib.Path("model.h5"), pathlib.Path("training.csv")):
    print("trains", flush=True)
    time.sleep(60)
"""
PATHS = Path("model.h5"), Path("training.csv")
CODE = ("src/__init__.py", "src/training/__init__.py", "src/training/live_logging.py", "src/training/multi_worker.py")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to train in, with a logger that writes down what it is told."""
    root = Path.cwd()
    for name in (*CODE, "src/tracking/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((root / name).read_bytes())
    write_logger(tmp_path, LOGGER)
    monkeypatch.chdir(tmp_path)
    for name in ("TF_CONFIG", "TRACKING_LIVE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write_logger(folder, code):
    (folder / "src" / "tracking" / "live_logger.py").write_text(code)


def end_of_logger():
    """What the logger was told, once it has ended."""
    until = time.monotonic() + 20
    while not Path("ended").exists() or not Path("ended").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    return Path("ended").read_text()


def test_logger_is_told_that_a_training_finished():
    with live_logging.logger_process(*PATHS):
        pass
    assert end_of_logger() == "ended: FINISHED"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_logger_is_told_that_a_training_failed(error):
    with pytest.raises(error), live_logging.logger_process(*PATHS):
        raise error
    assert end_of_logger() == "ended: FAILED"


def test_logger_notices_that_a_training_was_killed(folder):
    with subprocess.Popen([sys.executable, "-c", TRAINING], cwd=folder, stdout=subprocess.PIPE) as training:
        training.stdout.readline()
        while not Path("started").exists():
            time.sleep(0.02)
        training.send_signal(signal.SIGKILL)
    assert end_of_logger() == "ended: "


def test_logger_is_told_paths_and_age_of_the_table_and_has_its_own_session():
    PATHS[1].write_text("epoch\n")
    os.utime(PATHS[1], ns=(7, 7))
    with live_logging.logger_process(*PATHS):
        pass
    end_of_logger()
    assert Path("started").read_text() == "model.h5 training.csv 7 True"


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_logger_that_dies_does_not_reach_the_training(folder, code):
    write_logger(folder, code)
    with live_logging.logger_process(*PATHS):
        time.sleep(0.3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is still running
def test_logger_that_hangs_delays_the_training_by_seconds(folder, monkeypatch):
    monkeypatch.setattr(live_logging, "LOGGER_TIMEOUT", 0.2)
    write_logger(folder, "import pathlib, time; time.sleep(3); pathlib.Path('ended').write_text('late')")
    begin = time.monotonic()
    with live_logging.logger_process(*PATHS):
        pass
    assert time.monotonic() - begin < 2
    assert end_of_logger() == "late"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is not waited for
def test_second_interrupt_ends_the_wait_for_the_logger(folder, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt("the second")

    write_logger(folder, "")
    monkeypatch.setattr(live_logging.subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt, match="the first"), live_logging.logger_process(*PATHS):
        raise KeyboardInterrupt("the first")


def test_live_logging_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("TRACKING_LIVE", "false")
    with live_logging.logger_process(*PATHS):
        time.sleep(0.3)
    assert not Path("started").exists()


def test_other_value_than_true_or_false_is_rejected(monkeypatch):
    monkeypatch.setenv("TRACKING_LIVE", "0")
    expected = "TRACKING_LIVE: expected true or false, got '0'"
    with pytest.raises(ValueError, match=expected), live_logging.logger_process(*PATHS):
        pass


def test_logger_that_cannot_start_is_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with live_logging.logger_process(*PATHS):
        pass
    assert capsys.readouterr().err.startswith("warning: live logging cannot be started: [Errno 2]")


@pytest.mark.parametrize(
    ("cluster", "type_", "index", "expected"),
    [
        ('{"worker": ["a:1", "b:1"]}', "worker", 0, True),
        ('{"worker": ["a:1", "b:1"]}', "worker", 1, False),
        ('{"chief": ["a:1"], "worker": ["b:1"]}', "chief", 0, True),
        ('{"chief": ["a:1"], "worker": ["b:1"]}', "worker", 0, False),
    ],
)
def test_first_of_several_workers_has_the_logger(monkeypatch, cluster, type_, index, expected):
    config = f'{{"cluster": {cluster}, "task": {{"type": "{type_}", "index": {index}}}}}'
    monkeypatch.setenv("TF_CONFIG", config)
    with live_logging.logger_process(*PATHS):
        pass
    assert Path("started").exists() == expected
