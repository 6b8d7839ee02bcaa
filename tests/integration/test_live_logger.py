"""Live logging to the local store: `src/tracking/live_logger.py`, and its process beside a training."""

import contextlib
import os
import threading
import time
from pathlib import Path

import pytest

from src.tracking import live_logger, mlflow_logger, run_tags
from src.tracking.local_store import PROCESS_ID
from src.tracking.mlflow_setup import MlflowClient, entities
from src.tracking.tracking_store import TrackingError, local_uri
from src.training import live_logging

pytestmark = pytest.mark.slow
NAME = "retinal-vessels"
HEAD, ROWS = "epoch,loss,validation_loss\n", ("1,0.9,\n", "2,0.7,0.8\n")


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    monkeypatch.setattr(live_logger, "POLL_SECONDS", 0.05)
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture
def training(project):
    """A training that has not begun."""
    (project / "metrics" / "training.csv").unlink()
    return live_logger.Training(project / "data" / "model.h5", project / "metrics" / "training.csv", 0)


@pytest.fixture
def followed(training, params, project):
    """A context in which a training is followed; what is written to the stream is how it ended."""

    @contextlib.contextmanager
    def follow(training=training):
        source, target = os.pipe()
        with os.fdopen(source) as end, os.fdopen(target, "w") as word:
            thread = threading.Thread(target=live_logger.follow, args=(training, params, end, project))
            thread.start()
            yield word
            word.close()
            thread.join()

    return follow


def runs(project, view=entities.ViewType.ACTIVE_ONLY):
    client = MlflowClient(local_uri(project))
    experiment = client.get_experiment_by_name(NAME)
    return client.search_runs([experiment.experiment_id], "", view) if experiment else []


def epochs(project):
    (run,) = runs(project)
    return [m.step for m in MlflowClient(local_uri(project)).get_metric_history(run.info.run_id, "training.loss")]


def until(true):
    limit = time.monotonic() + 60
    while not true():
        assert time.monotonic() < limit
        time.sleep(0.05)


def test_epochs_appear_as_they_come_and_record_completes_that_run(project, training, followed, gather):
    with followed() as word:
        until(lambda: runs(project))
        training.table.write_text(HEAD + ROWS[0])
        until(lambda: epochs(project) == [1])
        (run,) = runs(project)
        assert run.info.status == "RUNNING"
        assert run.data.params["loss.gamma"] == "2.0"
        assert run.data.tags["stage"] == "train"
        assert run.data.tags[PROCESS_ID] == str(os.getpid())
        training.table.write_text(HEAD + "".join(ROWS))
        until(lambda: epochs(project) == [1, 2])
        word.write("FINISHED")
    (run,) = runs(project)
    assert (run.info.status, run.data.tags["stage"]) == ("FINISHED", "train")
    assert mlflow_logger.record(gather(project), NAME, project) == run.info.run_id
    assert epochs(project) == [1, 2]
    assert runs(project)[0].data.metrics["drive.f1"] == 0.8


def test_process_beside_a_training_logs_it(project, training, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path.cwd()))
    monkeypatch.chdir(project)
    monkeypatch.delenv("TRACKING_LIVE", raising=False)
    monkeypatch.setattr(live_logging, "LOGGER_TIMEOUT", 60)
    with live_logging.logger_process(Path("data/model.h5"), Path("metrics/training.csv")):
        training.table.write_text(HEAD + "".join(ROWS))
        until(lambda: runs(project))
        until(lambda: epochs(project) == [1, 2])
        assert runs(project)[0].info.status == "RUNNING"
    assert runs(project)[0].info.status == "FINISHED"


def test_last_epoch_is_logged_of_a_training_that_is_over_at_once(project, training, followed):
    with followed() as word:
        training.table.write_text(HEAD + "".join(ROWS))
        word.write("FINISHED")
    assert epochs(project) == [1, 2]


@pytest.mark.parametrize(("word", "status"), [("FAILED", "FAILED"), ("", "KILLED")])
def test_training_that_ended_otherwise_leaves_no_running_run(project, followed, gather, word, status):
    with followed() as stream:
        stream.write(word)
    (run,) = runs(project)
    assert run.info.status == status
    assert run_tags.TRAINING not in run.data.tags


def test_table_of_an_earlier_training_is_not_logged(project, training, followed):
    training.table.write_text(HEAD + "1,5.0,5.0\n2,5.0,5.0\n")
    with followed(training._replace(stale=training.table.stat().st_mtime_ns)) as word:
        until(lambda: runs(project))
        time.sleep(0.2)
        assert epochs(project) == []
        training.table.write_text(HEAD + ROWS[0])
        until(lambda: epochs(project) == [1])
        word.write("FINISHED")


def test_store_that_cannot_be_opened_is_one_warning(project, training, monkeypatch, capsys):
    (project / "mlflow.db").write_text("no database")
    monkeypatch.chdir(project)
    monkeypatch.setattr(os, "nice", lambda niceness: None)
    live_logger.main([str(training.model), str(training.table), "0"])
    printed = capsys.readouterr().err
    assert printed.startswith("warning: live logging of this training failed: MLflow store sqlite:///")
    assert printed.count("\n") == 1


def test_failure_is_one_warning_and_the_rows_are_logged_later(project, training, followed, monkeypatch, capsys):
    failed = []

    def fail(*arguments, **named):
        failed.append(arguments)
        raise TrackingError("database is locked")

    with followed() as word:
        until(lambda: runs(project))
        with monkeypatch.context() as patch:
            patch.setattr(mlflow_logger, "log_batches", fail)
            training.table.write_text(HEAD + ROWS[0])
            until(lambda: len(failed) > 2)
        word.write("FINISHED")
    assert epochs(project) == [1]
    warning = "warning: live logging of this training failed: database is locked\n"
    assert [line for line in capsys.readouterr().err.splitlines(keepends=True) if "warning" in line] == [warning]


def test_run_is_deleted_whose_training_was_recorded_before_it_was_closed(project, training, followed, gather):
    with followed() as word:
        training.table.write_text(HEAD + "".join(ROWS))
        until(lambda: runs(project))
        recorded = mlflow_logger.record(gather(project), NAME, project)
        word.write("FINISHED")
    assert [run.info.run_id for run in runs(project)] == [recorded]


def test_run_is_deleted_whose_folder_was_deleted_before_it_was_closed(project, training, followed):
    """Stage record has run by then: DVC deletes the folder of an experiment when it is over."""
    with followed() as word:
        until(lambda: runs(project))
        training.model.unlink()
        word.write("FINISHED")
    assert not runs(project)


def test_two_trainings_side_by_side_have_a_run_each(project, training, followed, gather, tmp_path):
    (tmp_path / "other").mkdir()
    model, table = tmp_path / "other" / "model.h5", tmp_path / "other" / "training.csv"
    model.write_bytes(b"other weights")
    with followed() as word, followed(live_logger.Training(model, table, 0)) as other:
        until(lambda: len(runs(project)) == 2)
        training.table.write_text(HEAD + "".join(ROWS))
        table.write_text(HEAD + ROWS[0])
        word.write("FINISHED")
        other.write("FINISHED")
    recorded = mlflow_logger.record(gather(project), NAME, project)
    rest = {run.info.run_id: run.data for run in runs(project)}
    assert rest.pop(recorded).metrics["training.loss"] == 0.7
    (left,) = rest.values()
    assert left.tags[run_tags.TRAINING] == run_tags.training_hash(model, table)
