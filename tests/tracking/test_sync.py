"""Copies of runs in another store: `src/tracking/sync.py` and `stages/record.py` together."""

import http.server
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from mlflow.protos.databricks_pb2 import ENDPOINT_NOT_FOUND

from src.tracking import mlflow_logger, model_packaging, run_record, run_tags, sync
from src.tracking.mlflow_setup import MlflowClient, MlflowException, mlflow
from src.tracking.tracking_store import TrackingError, local_uri
from stages import record as stage

NAME = "retinal-vessels"
NOWHERE = "http://127.0.0.1:9"
OWN_TAGS = {"process.id", "process.start_time", sync.SOURCE}


@pytest.fixture(autouse=True)
def no_experiment_of_the_user(monkeypatch):
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)


@pytest.fixture
def target(tmp_path, add_store, project, monkeypatch):
    """The URI of another store, to which runs are sent; it depends on `project`, which removes the variable."""
    (tmp_path / "other").mkdir()
    uri = add_store(tmp_path / "other")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    return uri


def runs_of(uri):
    """All runs of the experiment that are not deleted."""
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.get_experiment_by_name(NAME)
    return client.search_runs([experiment.experiment_id], order_by=["start_time ASC"]) if experiment else []


def content(uri, run, folder):
    """All that a run holds, by store: equal for a run and its copy."""
    client = MlflowClient(uri, registry_uri=uri)
    folder.mkdir()
    client.download_artifacts(run.info.run_id, "", str(folder))
    history = {
        key: [(point.step, point.value, point.timestamp) for point in client.get_metric_history(run.info.run_id, key)]
        for key in run.data.metrics
    }
    return (
        run.data.params,
        history,
        {key: value for key, value in run.data.tags.items() if key not in OWN_TAGS},
        [found.dataset.to_dictionary() for found in run.inputs.dataset_inputs],
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()},
        (run.info.run_name, run.info.start_time, run.info.end_time, run.info.status),
    )


@pytest.fixture
def with_model(project, gather):
    """A run with a model."""
    image, code = np.full((40, 40, 3), 90, np.uint8), model_packaging.served_code()
    model = run_record.ModelRecord(project / "data" / "model.h5", image, {"tile": 64}, "vessels", code)
    return gather(project)._replace(model=model)


def check_copy(uri, project, tmp_path):
    """Assert that the only run of a store is the copy of the only local one, with its model and version."""
    (run,), (copy,) = runs_of(local_uri(project)), runs_of(uri)
    assert content(uri, copy, tmp_path / "copy") == content(local_uri(project), run, tmp_path / "local")
    assert copy.data.tags[sync.SOURCE] == run.info.run_id
    client = MlflowClient(uri)
    (version,) = client.search_model_versions(f"run_id = '{copy.info.run_id}'")
    (logged,) = copy.outputs.model_outputs
    assert (version.name, version.source) == ("vessels", f"models:/{logged.model_id}")
    assert version.tags[run_tags.FINGERPRINT] == run.data.tags[run_tags.FINGERPRINT]
    (tmp_path / "model").mkdir()
    folder = Path(
        mlflow.artifacts.download_artifacts(f"models:/vessels/{version.version}", dst_path=tmp_path / "model")
    )
    described = mlflow.models.Model.load(str(folder))
    assert (described.model_id, described.run_id) == (logged.model_id, copy.info.run_id)
    assert next(folder.rglob("model.h5")).read_bytes() == b"weights"
    assert str(client.get_logged_model(logged.model_id).status) == "READY"


def test_record_copies_the_run_with_all_that_it_holds(project, with_model, target, tmp_path):
    stage.record_and_send(with_model, NAME, project)
    check_copy(target, project, tmp_path)


def test_model_that_is_a_link_into_a_cache_on_another_disk_is_recorded(project, with_model, target, tmp_path):
    cached = (project / "data" / "model.h5").rename(tmp_path / "0123")
    (project / "data" / "model.h5").symlink_to(cached)
    stage.record_and_send(with_model, NAME, project)
    check_copy(target, project, tmp_path)


@pytest.fixture
def server(tmp_path, add_store):
    """The address of an MLflow server; the only one of the tests, as it takes many seconds to start."""
    (tmp_path / "server").mkdir()
    uri = add_store(tmp_path / "server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", uri, "--artifacts-destination", str(tmp_path / "server" / "files")]
    with (tmp_path / "server" / "log").open("w") as log:
        variables = os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # no processes for jobs
        process = subprocess.Popen([*command, *places], env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            limit = time.monotonic() + 120
            while not responds(f"http://127.0.0.1:{port}/health"):
                assert time.monotonic() < limit, (tmp_path / "server" / "log").read_text()
                time.sleep(0.3)
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # it has workers
            process.wait()


def responds(address):
    try:
        with urllib.request.urlopen(address, timeout=2):
            return True
    except OSError:
        return False


@pytest.mark.slow
def test_record_copies_the_run_to_a_server(project, with_model, server, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    stage.record_and_send(with_model, NAME, project)
    check_copy(server, project, tmp_path)
    assert sync.send_runs(project, print) == 0
    assert len(runs_of(server)) == 1


def test_server_of_mlflow_2_is_named_and_gets_the_run_once_it_is_updated(project, with_model, target, monkeypatch):
    mlflow_logger.record(with_model, NAME, project)

    def fail(*arguments):  # as a client of MLflow 3 does there
        message = "API request to endpoint /api/2.0/mlflow/logged-models failed with error code 404 != 200."
        raise MlflowException(f"{message} Response body: '<!doctype html>\n", ENDPOINT_NOT_FOUND)

    monkeypatch.setattr(MlflowClient, "create_logged_model", fail)
    lines = []
    assert sync.send_runs(project, lines.append) == 1
    assert f"MLflow store {target}: expected a server of MLflow 3, got an older one" in lines[0]
    monkeypatch.undo()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", target)
    assert sync.send_runs(project, lines.append) == 0


def test_nothing_is_sent_twice(project, gather, target, capsys):
    mlflow_logger.record(gather(project), NAME, project)
    for _ in range(2):
        assert sync.send_runs(project, print) == 0
    assert capsys.readouterr().out.count("sent: run ") == 1
    assert len(runs_of(target)) == 1


def test_state_that_the_store_has_from_elsewhere_is_not_copied(project, gather, target, tmp_path):
    twin = shutil.copytree(project, tmp_path / "twin")
    for folder in (twin, project):
        mlflow_logger.record(gather(folder), NAME, folder)
        sync.send_runs(folder, print)
    assert len(runs_of(target)) == 1


def test_copy_that_was_deleted_there_is_not_sent_again(project, gather, target):
    mlflow_logger.record(gather(project), NAME, project)
    sync.send_runs(project, print)
    (copy,) = runs_of(target)
    MlflowClient(target).delete_run(copy.info.run_id)
    assert sync.send_runs(project, print) == 0
    assert not runs_of(target)


def test_interrupted_copy_is_made_anew(project, with_model, target, tmp_path, monkeypatch):
    mlflow_logger.record(with_model, NAME, project)
    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_terminated", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sync.send_runs(project, print)
    (half,) = runs_of(target)
    assert half.info.status == "RUNNING"
    assert sync.send_runs(project, print) == 0
    check_copy(target, project, tmp_path)


def interrupt(*arguments, **named):
    raise KeyboardInterrupt


def test_runs_that_are_not_recorded_whole_are_not_sent(project, gather, target):
    with pytest.raises(TrackingError):
        mlflow_logger.record(gather(project)._replace(files={"": [project / "nowhere"]}), NAME, project)
    assert sync.send_runs(project, print) == 0
    assert not runs_of(target)


def test_next_run_that_is_recorded_sends_those_that_are_left(project, gather, target, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        for note in ("first", "second"):
            assert stage.record_and_send(gather(project, note=note), NAME, project)
    assert caplog.messages[0].startswith("WARNING: this run is recorded here alone (MLflow store http://127.0.0.1:9: ")
    assert caplog.messages[0].endswith("; `python -m src sync` sends it")
    stage.record_and_send(gather(project, note="third"), NAME, project)
    assert len(runs_of(target)) == 3


def test_run_that_cannot_be_sent_stays_and_hinders_no_other(project, gather, target, monkeypatch, capsys):
    client = MlflowClient(target)
    client.delete_experiment(client.create_experiment("gone", (project / "gone").as_uri()))
    rejected = mlflow_logger.record(gather(project, note="rejected"), "gone", project)
    accepted = mlflow_logger.record(gather(project, note="accepted"), NAME, project)
    monkeypatch.chdir(project)
    assert sync.main([]) == 1
    printed = capsys.readouterr().out
    assert f"not sent: run {rejected}: experiment 'gone' was deleted in MLflow" in printed
    assert f"sent: run {accepted} to {target} as {runs_of(target)[0].info.run_id}" in printed
    assert printed.endswith("1 left to send\n")


def test_store_that_went_down_is_asked_once(project, gather, target, monkeypatch):
    for note in "abc":
        mlflow_logger.record(gather(project, note=note), NAME, project)
    asked = []

    def fail(*arguments):
        asked.append(arguments)
        monkeypatch.setattr(sync, "check_reachable", down)
        raise OSError("gone")

    def down(uri):
        raise TrackingError("down")

    monkeypatch.setattr(sync, "find_experiment", fail)
    with pytest.raises(TrackingError, match="down"):
        sync.send_runs(project, print)
    assert len(asked) == 1


def test_help_sends_nothing_and_reads_like_a_manual(project, gather, target, monkeypatch, capsys):
    mlflow_logger.record(gather(project), NAME, project)
    monkeypatch.chdir(project)
    with pytest.raises(SystemExit, match="0"):
        sync.main(["--help"])
    printed = capsys.readouterr().out
    assert printed.startswith("usage: python -m src sync [-h]")
    assert "MLFLOW_TRACKING_URI" in printed
    assert "exit codes:" in printed
    assert not runs_of(target)


def test_nothing_left_is_a_success(project, target, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "nothing is left to send\n"


def test_nowhere_to_send_is_said(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    for uri in (None, "sqlite:///mlflow.db"):
        if uri:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        assert sync.main([]) == 2
        assert capsys.readouterr().err.startswith(
            "error: expected MLFLOW_TRACKING_URI to name a store beside the local"
        )


def test_store_that_is_down_is_an_error_without_the_password(project, gather, monkeypatch, capsys):
    mlflow_logger.record(gather(project), NAME, project)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    monkeypatch.chdir(project)
    assert sync.main([]) == 1
    printed = capsys.readouterr().err
    assert printed.startswith("error: MLflow store http://127.0.0.1:9: ")
    assert "secret" not in printed


def test_queue_of_an_earlier_version_is_a_warning(project, target, monkeypatch, capsys):
    (project / sync.EARLIER_QUEUE / "a1b2").mkdir(parents=True)
    monkeypatch.chdir(project)
    assert sync.main([]) == 0
    assert capsys.readouterr().err.startswith("warning: .tracking/outbox holds runs of an earlier version")


@pytest.fixture
def other_server():
    """The address of a server that is not MLflow's."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>an intranet</html>")

        do_HEAD = do_POST = do_GET

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{found.server_port}"
        found.shutdown()


def test_wrong_uri_costs_seconds_and_nothing_else(project, gather, monkeypatch, caplog, other_server):
    mlflow_logger.record(gather(project), NAME, project)
    monkeypatch.chdir(project)
    uris = (
        NOWHERE,
        "http://no.such.host.invalid",
        "http://host:port",
        "sqlite:////proc/none/all.db",
        "sqlite://",
        "nonsense://host",
        "nonsense",
        "postgresql://127.0.0.1:9/none",
        other_server,
    )
    for uri in uris:
        caplog.clear()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        begin = time.monotonic()
        assert stage.record_and_send(gather(project), NAME, project), uri
        assert time.monotonic() - begin < 20, uri
        *_, warning = [record.getMessage() for record in caplog.records if record.name == stage.__name__]
        assert warning.startswith("WARNING: "), uri
        assert "\n" not in warning, uri
