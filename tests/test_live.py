import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from src import live

WATCHER = """
import os, pathlib, sys
pathlib.Path("started").write_text(" ".join([*sys.argv[1:], str(os.getsid(0) == os.getpid())]))
pathlib.Path("ended").write_text("ended: " + sys.stdin.read())
"""
TRAINER = """
import pathlib, time
from src import live
with live.watched(pathlib.Path("model.h5"), pathlib.Path("training.csv")):
    print("trains", flush=True)
    time.sleep(60)
"""
PATHS = Path("model.h5"), Path("training.csv")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder to train in, with a watcher that leaves what it is told."""
    (tmp_path / "src").mkdir()
    for name in ("__init__", "cluster", "live"):
        (tmp_path / "src" / f"{name}.py").write_bytes(Path(f"src/{name}.py").read_bytes())
    watcher(tmp_path, WATCHER)
    monkeypatch.chdir(tmp_path)
    for name in ("TF_CONFIG", "TRACKING_LIVE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def watcher(folder, code):
    (folder / "src" / "watch.py").write_text(code)


def ended():
    """What the watcher has been told, when it is over."""
    until = time.monotonic() + 20
    while not Path("ended").exists() or not Path("ended").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    return Path("ended").read_text()


def test_watcher_learns_of_a_training_that_finished():
    with live.watched(*PATHS):
        pass
    assert ended() == "ended: FINISHED"


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_watcher_learns_of_a_training_that_failed(error):
    with pytest.raises(error), live.watched(*PATHS):
        raise error
    assert ended() == "ended: FAILED"


def test_watcher_learns_of_a_training_that_was_killed(folder):
    with subprocess.Popen([sys.executable, "-c", TRAINER], cwd=folder, stdout=subprocess.PIPE) as trainer:
        trainer.stdout.readline()
        while not Path("started").exists():
            time.sleep(0.02)
        trainer.send_signal(signal.SIGKILL)
    assert ended() == "ended: "


def test_watcher_is_told_paths_and_of_a_table_that_is_older_and_outlives_the_terminal():
    PATHS[1].write_text("epoch\n")
    os.utime(PATHS[1], ns=(7, 7))
    with live.watched(*PATHS):
        pass
    ended()
    assert Path("started").read_text() == "model.h5 training.csv 7 True"


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"])
def test_watcher_that_dies_is_nothing_to_the_training(folder, code):
    watcher(folder, code)
    with live.watched(*PATHS):
        time.sleep(0.3)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is still running
def test_watcher_that_hangs_delays_the_training_by_seconds(folder, monkeypatch):
    monkeypatch.setattr(live, "PATIENCE", 0.2)
    watcher(folder, "import pathlib, time; time.sleep(3); pathlib.Path('ended').write_text('late')")
    begin = time.monotonic()
    with live.watched(*PATHS):
        pass
    assert time.monotonic() - begin < 2
    assert ended() == "late"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it is not waited for
def test_second_interrupt_ends_the_wait_for_the_watcher(folder, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt("the second")

    watcher(folder, "")
    monkeypatch.setattr(live.subprocess.Popen, "communicate", interrupted)
    with pytest.raises(KeyboardInterrupt, match="the first"), live.watched(*PATHS):
        raise KeyboardInterrupt("the first")


def test_watching_can_be_turned_off(monkeypatch):
    monkeypatch.setenv("TRACKING_LIVE", "false")
    with live.watched(*PATHS):
        time.sleep(0.3)
    assert not Path("started").exists()


def test_watcher_that_cannot_start_is_a_warning(monkeypatch, capsys):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with live.watched(*PATHS):
        pass
    assert capsys.readouterr().err.startswith("warning: this training cannot be watched: [Errno 2]")


@pytest.mark.parametrize(
    ("cluster", "type_", "index", "expected"),
    [
        ('{"worker": ["a:1", "b:1"]}', "worker", 0, True),
        ('{"worker": ["a:1", "b:1"]}', "worker", 1, False),
        ('{"chief": ["a:1"], "worker": ["b:1"]}', "chief", 0, True),
        ('{"chief": ["a:1"], "worker": ["b:1"]}', "worker", 0, False),
    ],
)
def test_one_of_several_workers_is_watched(monkeypatch, cluster, type_, index, expected):
    config = f'{{"cluster": {cluster}, "task": {{"type": "{type_}", "index": {index}}}}}'
    monkeypatch.setenv("TF_CONFIG", config)
    with live.watched(*PATHS):
        pass
    assert Path("started").exists() == expected
