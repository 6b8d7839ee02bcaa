import contextlib
import errno
import http.server
import json
import shutil
import sqlite3
import threading
import time

import mlflow
import numpy as np
import pytest

from src import outbox, runs, stores, tracking

NAME = "retinal-vessels"
NOWHERE = "http://127.0.0.1:9"


def kept(project):
    return [path.name for path in outbox.folder(project).glob("[!.]*")]


def recorded(project):
    """All runs of the experiment."""
    client = mlflow.MlflowClient(stores.store(project))
    experiment = client.get_experiment_by_name(NAME)
    return client.search_runs([experiment.experiment_id]) if experiment else []


def content(project):
    """All that the only run of a project holds, but what MLflow adds."""
    (run,) = recorded(project)
    folder = project / "mlruns" / run.info.run_id / "artifacts"
    files = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    curve = mlflow.MlflowClient(stores.store(project)).get_metric_history(run.info.run_id, "training.loss")
    times = {"mlflow.user", "mlflow.source.name", "mlflow.source.type", "mlflow.source.git.commit", "mlflow.runName"}
    tags = {key: value for key, value in run.data.tags.items() if key not in times}
    inputs = [found.dataset.to_dictionary() for found in run.inputs.dataset_inputs]
    return run.data.params, run.data.metrics, tags, inputs, files, [(m.step, m.value, m.timestamp) for m in curve]


@pytest.fixture
def down(monkeypatch):
    """A function that takes the store away and brings it back."""

    def switch(off=True):
        if off:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", NOWHERE)
        else:
            monkeypatch.delenv("MLFLOW_TRACKING_URI")

    return switch


def test_run_that_was_kept_is_recorded_as_if_nothing_had_happened(project, gather, down, tmp_path):
    twin = shutil.copytree(project, tmp_path / "twin")
    run = gather(project)
    tracking.record(run, NAME, twin)
    down()
    assert outbox.deliver(run, NAME, project) is None
    down(off=False)
    for name in ("metrics", "data", "params.yaml", "dvc.lock"):  # it needs nothing of the project
        path = project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (sent,) = outbox.send(project)
    assert sent == (run.tags[runs.FINGERPRINT], recorded(project)[0].info.run_id, "")
    assert content(project) == content(twin)
    assert not kept(project)


def test_model_is_kept_with_its_image(project, gather):
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    code = [project / "params.yaml", project / "dvc.yaml"]
    given = runs.Model(project / "data" / "model.h5", image, {"tile": 64}, "vessels", code, ["numpy==2.4.6"])
    model = outbox.read(outbox.keep(gather(project)._replace(model=given), NAME, project))[0].model
    assert model.path.read_bytes() == b"weights"
    np.testing.assert_array_equal(model.photograph, image)
    assert (model.settings, model.registered, model.requirements) == given[2:4] + given[5:]
    assert [path.read_bytes() for path in model.code] == [path.read_bytes() for path in code]
    assert not {path.parent for path in model.code} & {path.parent for path in code}  # copies


def test_nothing_is_sent_twice(project, gather):
    run = gather(project)
    place = outbox.keep(run, NAME, project)
    shutil.copytree(place, project / "copy")
    (first,) = outbox.send(project)
    assert not list(outbox.send(project))
    shutil.copytree(project / "copy", place)  # as if it had been ended before it deleted the folder
    (second,) = outbox.send(project)
    assert second.run_id == first.run_id == recorded(project)[0].info.run_id
    assert len(recorded(project)) == 1


def test_state_is_kept_once(project, gather):
    run = gather(project)
    assert outbox.keep(run, NAME, project) == outbox.keep(run, NAME, project)
    assert kept(project) == [run.tags[runs.FINGERPRINT]]


def test_next_run_that_is_recorded_sends_those_that_are_kept(project, gather, down):
    down()
    outbox.deliver(gather(project, note="first"), NAME, project)
    outbox.deliver(gather(project, note="second"), NAME, project)
    assert len(kept(project)) == 2
    down(off=False)
    assert outbox.deliver(gather(project, note="third"), NAME, project)
    assert len(recorded(project)) == 3
    assert not kept(project)


def test_run_that_is_refused_stays_and_hinders_no_other(project, gather, capsys):
    client = mlflow.MlflowClient(stores.store(project))
    client.delete_experiment(client.create_experiment("gone", artifact_location=(project / "gone").as_uri()))
    refused = outbox.keep(gather(project, note="refused"), "gone", project)
    (outbox.folder(project) / "damaged").mkdir()
    taken = outbox.keep(gather(project, note="taken"), NAME, project)
    assert outbox.main(project) == 1
    said = capsys.readouterr().out
    assert f"refused: {refused.name}: record.experiment: expected one that is not deleted" in said
    assert "refused: damaged: [Errno 2]" in said
    assert f"sent: {taken.name} is run {recorded(project)[0].info.run_id}" in said
    assert said.endswith("2 left to send\n")
    assert sorted(kept(project)) == sorted([refused.name, "damaged"])


def test_outbox_that_is_empty_is_a_success(project, capsys):
    assert outbox.main(project) == 0
    assert capsys.readouterr().out == "nothing is left to send\n"


def test_store_that_is_down_is_asked_once(project, gather, down, monkeypatch):
    down()
    for note in "abc":
        outbox.keep(gather(project, note=note), NAME, project)
    asked = []
    monkeypatch.setattr(tracking, "record", lambda *run: asked.append(run) or raise_(stores.Unreachable("down")))
    assert [sent.reason for sent in outbox.send(project)] == ["down"] * 3
    assert len(asked) == 1


def raise_(error):
    raise error


def test_two_senders_do_not_send_the_same(project, gather):
    outbox.keep(gather(project), NAME, project)
    with outbox.FileLock(outbox.folder(project).with_suffix(".lock")):
        assert not list(outbox.send(project))
    assert len(list(outbox.send(project))) == 1


def test_locked_database_costs_seconds_and_nothing_else(project, gather, monkeypatch):
    monkeypatch.setattr(stores, "ANSWER_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        assert outbox.deliver(gather(project), NAME, project) is None
        assert time.monotonic() - begin < 5
    assert [sent.run_id for sent in outbox.send(project)] == [recorded(project)[0].info.run_id]


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

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize(
    "uri",
    [
        NOWHERE,
        "http://no.such.host.invalid",
        "http://host:port",
        "sqlite:////proc/none/all.db",
        "sqlite://",
        "nonsense://host",
        "nonsense",
        "postgresql://127.0.0.1:9/none",
        "other_server",
    ],
)
def test_wrong_uri_costs_seconds_and_nothing_else(project, gather, monkeypatch, caplog, uri, other_server):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other_server if uri == "other_server" else uri)
    monkeypatch.chdir(project)
    begin = time.monotonic()
    assert outbox.deliver(gather(project), NAME, project) is None
    assert time.monotonic() - begin < 20
    assert len(kept(project)) == 1
    (warning,) = [record for record in caplog.records if record.name == outbox.__name__]
    assert warning.getMessage().startswith("WARNING: MLflow did not take this run, it is kept in ")
    assert "\n" not in warning.getMessage()


def full(*arguments, **named):
    raise OSError(errno.ENOSPC, "No space left on device")


def test_disk_of_the_store_that_is_full_keeps_the_run(project, gather, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(mlflow, "log_artifact", full)
        assert outbox.deliver(gather(project), NAME, project) is None
    (sent,) = outbox.send(project)
    assert [run.info.run_id for run in recorded(project)] == [sent.run_id]


def test_disk_that_is_full_altogether_fails_so_that_the_next_run_records(project, gather, down, monkeypatch):
    down()
    monkeypatch.setattr(shutil, "copy", full)
    with pytest.raises(OSError, match=r"this run is not recorded \(.*\), nor can it be kept: \[Errno 28\] No"):
        outbox.deliver(gather(project), NAME, project)
    assert not list(outbox.folder(project).iterdir())


def test_folder_of_a_run_is_there_whole_or_not_at_all(project, gather, monkeypatch):
    run = gather(project)
    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(OSError, match="No space"):
        outbox.keep(run, NAME, project)
    assert not list(outbox.folder(project).iterdir())
