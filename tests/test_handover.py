import os
import threading
import time

import pytest

from src import handover

URI = "sqlite:////srv/all.db"


def leave(root, **note):
    """The file of a run whose watcher is gone."""
    with handover.Entry(root, URI) as entry:
        entry.note(**note)
    return entry.path


def test_run_of_a_finished_training_is_found_by_what_it_left(tmp_path):
    path = leave(tmp_path, run_id="r", end="FINISHED", training="t", told=True)
    assert list(handover.finished(tmp_path, URI, "t")) == [(path, "r")]
    assert not list(handover.finished(tmp_path, URI, "other"))
    assert not list(handover.finished(tmp_path, "http://other", "t"))
    assert not list(handover.untold(tmp_path, URI))


def test_run_that_is_watched_still_is_not_found(tmp_path):
    with handover.Entry(tmp_path, URI) as entry:
        entry.note(run_id="r", training="t")
        assert not list(handover.finished(tmp_path, URI, "t"))
        assert not list(handover.untold(tmp_path, URI))


def test_watcher_that_still_tells_of_a_training_is_waited_for(tmp_path):
    told = []
    entry = handover.Entry(tmp_path, URI)

    def watcher():
        with entry:
            entry.note(run_id="r", training="t")
            ready.set()
            threading.Event().wait(0.3)
            told.append(True)

    ready, thread = threading.Event(), threading.Thread(target=watcher)
    thread.start()
    ready.wait()
    handover.wait(tmp_path, URI, "t")
    assert told
    thread.join()


def test_watcher_that_hangs_is_waited_for_seconds(tmp_path, monkeypatch):
    monkeypatch.setattr(handover, "WAIT_SECONDS", 0.1)
    with handover.Entry(tmp_path, URI) as entry:
        entry.note(run_id="r", training="t")
        handover.wait(tmp_path, URI, "t")


@pytest.mark.parametrize(("end", "said"), [(None, "KILLED"), ("KILLED", "KILLED"), ("FAILED", "FAILED")])
def test_end_that_mlflow_does_not_know_is_told_once(tmp_path, end, said):
    path = leave(tmp_path, run_id="r", end=end)
    assert list(handover.untold(tmp_path, URI)) == [(path, "r", said)]
    handover.told(path)
    assert not list(handover.untold(tmp_path, URI))
    assert not list(handover.folder(tmp_path).iterdir())


def test_finished_training_stays_to_be_completed_when_its_end_is_told(tmp_path):
    path = leave(tmp_path, run_id="r", end="FINISHED", training="t")
    handover.told(path)
    assert not list(handover.untold(tmp_path, URI))
    assert list(handover.finished(tmp_path, URI, "t")) == [(path, "r")]


@pytest.mark.parametrize("note", [{}, {"run_id": "r", "end": "FAILED", "told": True}])
def test_nothing_is_left_of_a_run_that_nobody_needs(tmp_path, note):
    leave(tmp_path, **note)
    assert not list(handover.folder(tmp_path).iterdir())


def test_file_of_another_version_is_left_alone(tmp_path):
    handover.folder(tmp_path).mkdir(parents=True)
    (handover.folder(tmp_path) / "a.json").write_text('{"shape": "new"}')
    assert not list(handover.untold(tmp_path, URI))


def test_password_of_a_store_is_not_written(tmp_path):
    with handover.Entry(tmp_path, "https://me:secret@server") as entry:
        assert "secret" not in entry.path.read_text()


@pytest.mark.parametrize(("days", "told", "there"), [(29, True, True), (31, True, False), (31, False, True)])
def test_run_that_nobody_completed_is_forgotten_after_a_month(tmp_path, days, told, there):
    path = leave(tmp_path, run_id="r", end="FINISHED", training="t", told=told)
    then = time.time() - days * 86400
    os.utime(path, (then, then))
    handover.prune(tmp_path, URI)
    assert path.exists() == there
