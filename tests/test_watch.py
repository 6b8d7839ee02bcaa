import contextlib
import os
import threading
import time
from pathlib import Path

import mlflow
import pytest

from src import handover, live, outbox, runs, stores, tracking, watch

NAME = "retinal-vessels"
HEAD, ROWS = "epoch,loss,validation_loss\n", ("1,0.9,\n", "2,0.7,0.8\n")


@pytest.fixture(autouse=True)
def often(monkeypatch):
    monkeypatch.setattr(watch, "POLL_SECONDS", 0.05)


@pytest.fixture
def training(project):
    """A training that has not begun."""
    (project / "metrics" / "training.csv").unlink()
    return watch.Training(project / "data" / "model.h5", project / "metrics" / "training.csv", 0)


@pytest.fixture
def watched(training, params, project):
    """A context in which a training is watched; what is written to the stream is how it ended."""

    @contextlib.contextmanager
    def watched_(training=training):
        source, target = os.pipe()
        with os.fdopen(source) as end, os.fdopen(target, "w") as word:
            thread = threading.Thread(target=watch.watch, args=(training, params, end, project))
            thread.start()
            yield word
            word.close()
            thread.join()

    return watched_


def only_run(project):
    client = mlflow.MlflowClient(stores.store(project))
    experiment = client.get_experiment_by_name(NAME)
    (run,) = client.search_runs([experiment.experiment_id]) if experiment else [None]
    return run


def epochs(project):
    client = mlflow.MlflowClient(stores.store(project))
    return [m.step for m in client.get_metric_history(only_run(project).info.run_id, "training.loss")]


def until(true):
    limit = time.monotonic() + 30
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def opened(project):
    return [path for path in handover.folder(project).glob("*.json") if '"run_id": null' not in path.read_text()]


def test_epochs_are_seen_as_they_come_and_record_completes_that_run(project, training, watched, gather):
    with watched() as word:
        until(lambda: opened(project))
        training.table.write_text(HEAD + ROWS[0])
        until(lambda: epochs(project) == [1])
        run = only_run(project)
        assert run.info.status == "RUNNING"
        assert run.data.params["loss.gamma"] == "2.0"
        assert run.data.tags["stage"] == "train"
        training.table.write_text(HEAD + "".join(ROWS))
        until(lambda: epochs(project) == [1, 2])
        word.write("FINISHED")
    assert only_run(project).info.status == "FINISHED"
    assert tracking.record(gather(project), NAME, project) == run.info.run_id
    assert epochs(project) == [1, 2]
    assert only_run(project).data.metrics["drive.fov.f1"] == 0.8
    assert not list(handover.folder(project).iterdir())


def test_process_beside_a_training_shows_it(project, training, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(project)
    monkeypatch.delenv("TRACKING_LIVE", raising=False)
    monkeypatch.setattr(live, "PATIENCE", 60)
    with live.watched(Path("data/model.h5"), Path("metrics/training.csv")):
        training.table.write_text(HEAD + "".join(ROWS))
        until(lambda: opened(project))
        until(lambda: epochs(project) == [1, 2])
        assert only_run(project).info.status == "RUNNING"
    assert only_run(project).info.status == "FINISHED"


def test_last_epoch_is_seen_of_a_training_that_is_over_at_once(project, training, watched):
    with watched() as word:
        training.table.write_text(HEAD + "".join(ROWS))
        word.write("FINISHED")
    assert epochs(project) == [1, 2]


@pytest.mark.parametrize(("word", "status"), [("FAILED", "FAILED"), ("", "KILLED")])
def test_training_that_ended_otherwise_is_no_running_run(project, watched, word, status):
    with watched() as stream:
        until(lambda: opened(project))
        stream.write(word)
    assert only_run(project).info.status == status
    assert not list(handover.folder(project).iterdir())


def test_table_of_an_earlier_training_is_not_shown(project, training, watched):
    training.table.write_text(HEAD + "1,5.0,5.0\n2,5.0,5.0\n")
    with watched(training._replace(stale=training.table.stat().st_mtime_ns)) as word:
        until(lambda: opened(project))
        time.sleep(0.2)
        assert epochs(project) == []
        training.table.write_text(HEAD + ROWS[0])
        until(lambda: epochs(project) == [1])
        word.write("FINISHED")


def test_store_that_is_down_is_one_warning(project, training, watched, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with watched() as word:
        training.table.write_text(HEAD + ROWS[0])
        word.write("FINISHED")
    said = capsys.readouterr().err
    assert said.startswith("warning: this training can no longer be watched in MLflow: http://127.0.0.1:9: ")
    assert said.count("\n") == 1
    assert not list(handover.folder(project).iterdir())


def test_store_that_dies_is_asked_no_more_and_the_run_completed_later(
    project, training, watched, gather, monkeypatch, capsys
):
    asked = []

    def refuse(*arguments):
        asked.append(arguments)
        raise stores.Refused("it died")

    with monkeypatch.context() as patch, watched() as word:
        until(lambda: opened(project))
        patch.setattr(tracking, "log_epochs", refuse)
        training.table.write_text(HEAD + ROWS[0])
        until(lambda: asked)
        training.table.write_text(HEAD + "".join(ROWS))
        time.sleep(0.3)
        word.write("FINISHED")
    assert len(asked) == 1
    assert capsys.readouterr().err.count("warning") == 1
    assert only_run(project).info.status == "RUNNING"
    run_id = outbox.deliver(gather(project), NAME, project)
    assert run_id == only_run(project).info.run_id
    assert only_run(project).info.status == "FINISHED"
    assert epochs(project) == [1, 2]


def test_run_that_could_not_be_told_of_its_end_is_told_by_the_next(project, watched, gather, monkeypatch):
    def refuse(*arguments):
        raise stores.Refused("it died")

    with monkeypatch.context() as patch, watched() as word:
        until(lambda: opened(project))
        patch.setattr(tracking, "close_run", refuse)
        word.write("FAILED")
    run_id = only_run(project).info.run_id
    assert only_run(project).info.status == "RUNNING"
    (project / "metrics" / "training.csv").write_text(HEAD + "".join(ROWS))
    tracking.record(gather(project), NAME, project)
    client = mlflow.MlflowClient(stores.store(project))
    assert client.get_run(run_id).info.status == "FAILED"


def test_two_trainings_side_by_side_have_a_run_each(project, training, watched, gather, tmp_path):
    (tmp_path / "other").mkdir()
    model, table = tmp_path / "other" / "model.h5", tmp_path / "other" / "training.csv"
    model.write_bytes(b"other weights")
    with watched() as word, watched(watch.Training(model, table, 0)) as other:
        until(lambda: len(opened(project)) == 2)
        training.table.write_text(HEAD + "".join(ROWS))
        table.write_text(HEAD + ROWS[0])
        word.write("FINISHED")
        other.write("FINISHED")
    client = mlflow.MlflowClient(stores.store(project))
    run = client.get_run(tracking.record(gather(project), NAME, project))
    assert run.data.metrics["training.loss"] == 0.7
    (path, rest), *more = handover.finished(project, stores.store(project), runs.training_hash(model, table))
    assert not more
    assert rest != run.info.run_id
    assert path.exists()
