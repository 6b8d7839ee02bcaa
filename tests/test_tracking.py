import json
import os
import shutil
import subprocess
import threading
import uuid
from pathlib import Path

import mlflow
import numpy as np
import pytest
from mlflow.exceptions import MlflowException
from mlflow.telemetry.utils import is_telemetry_disabled

from src import handover, provenance, runs, samples, stores, tracking
from stages import record as stage

SIDE = 96
PREDICT = """
import sys, mlflow, numpy
uri, model, source, target = sys.argv[1:]
mlflow.set_tracking_uri(uri)
numpy.save(target, mlflow.pyfunc.load_model(model).predict(numpy.load(source)))
"""


def write_test_image(root: Path) -> None:
    """One drawn photograph as the test set."""
    rng = np.random.default_rng(1)
    image, full = rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8), np.ones((SIDE, SIDE), bool)
    samples.write_table(root, [("drive", "01", "a")])
    samples.write_eye(root, "drive", samples.Eye("01", "a", image, full, full, None))


def write_model(path: Path) -> None:
    """A network of one convolution."""
    from src import models
    from src.backend import tf

    image = tf.keras.Input((None, None, 3))
    probability = tf.keras.layers.Conv2D(1, 3, padding="same", activation="sigmoid")(image)
    models.save(tf.keras.Model(image, probability), path)


@pytest.fixture(scope="module", autouse=True)
def no_store_of_the_user():
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("DVC_EXP_NAME", "brave-fox")
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, finished):
    """A project folder whose database the tests of this module share."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("recorded") / "a project")
    write_test_image(folder / "data" / "test")
    write_model(folder / "data" / "model.h5")
    return folder


def main(project, params):
    """The stage on the project folder."""
    data = project / "data"
    folders = project / "metrics", data / "examples", data / "model.h5", data / "test", data / "recorded" / "f.txt"
    return stage.main(*folders, params, project)


@pytest.fixture(scope="module")
def run_id(project, params):
    return main(project, params)


@pytest.fixture(scope="module")
def client(project):
    return mlflow.MlflowClient(stores.store(project))


@pytest.fixture(scope="module")
def run(run_id, client):
    return client.get_run(run_id)


def paths(client, run_id, folder=None):
    """Names of all files of a run."""
    found = client.list_artifacts(run_id, folder)
    return {p for f in found for p in (paths(client, run_id, f.path) if f.is_dir else {f.path})}


def test_all_params_have_flat_names(run, params):
    assert run.data.params.keys() == runs.flatten(params.model_dump()).keys()
    assert run.data.params["loss.gamma"] == "2.0"
    assert run.data.params["loss.balance"] == "null"
    assert run.data.params["data.train"] == "phantom"


def test_scores_have_flat_names_and_undefined_ones_are_left_out(run):
    assert run.data.metrics["drive.fov.f1"] == 0.8
    assert run.data.metrics["threshold"] == 0.4
    assert "drive.fov.mcc" not in run.data.metrics


def test_curves_are_by_epoch(run_id, client):
    steps = {name: [(m.step, m.value) for m in client.get_metric_history(run_id, f"training.{name}")]
             for name in ("loss", "validation_loss")}  # fmt: skip
    assert steps == {"loss": [(1, 0.9), (2, 0.7)], "validation_loss": [(2, 0.8)]}


def test_tags_name_data_code_machine_and_experiment(run, project):
    head = subprocess.run(["git", "-C", project, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert run.data.tags["md5.data/model"] == "a1b2"
    assert run.data.tags["git.commit"] == head.stdout.strip()
    assert run.data.tags["git.dirty"] == "false"
    assert run.data.tags["version.mlflow"] == mlflow.__version__
    assert run.data.tags["DVC_EXP_NAME"] == run.info.run_name == "brave-fox"
    assert {"machine", "version.tensorflow", "version.dvc", "dvc.lock", "mlflow.user"} <= run.data.tags.keys()


def test_files_are_kept_beside_the_database(run_id, client, project):
    expected = {
        *(f"pipeline/{name}" for name in runs.PIPELINE),
        *(f"metrics/{name}" for name in (*provenance.TABLES, "report.md", "figures/roc.png")),
        "examples/drive_best.png",
        "per_image.json",
    }
    assert paths(client, run_id) == expected
    assert (project / "mlruns" / run_id / "artifacts" / "metrics" / "figures" / "roc.png").read_bytes() == b"chart"


def test_table_keeps_ids_as_text(run_id, project):
    table = json.loads((project / "mlruns" / run_id / "artifacts" / "per_image.json").read_text())
    (row,) = (dict(zip(table["columns"], values, strict=True)) for values in table["data"])
    assert [row[column] for column in ("dataset", "id", "tp", "f1", "mcc")] == ["drive", "01", 4, 0.8, None]


def test_images_are_inputs_with_the_hash_that_dvc_knows(run):
    (found,) = run.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("phantom", "c3d4")
    assert json.loads(found.dataset.source) == {"uri": "data/test"}
    assert {tag.key: tag.value for tag in found.tags}["mlflow.data.context"] == "testing"


def test_same_state_twice_is_one_run(run_id, project, params):
    assert main(project, params) == run_id


def test_other_params_are_another_run_and_the_model_may_be_left_out(run_id, client, project, params):
    changed = params.model_copy(update={"record": params.record.model_copy(update={"model": False})})
    other = main(project, changed)
    assert other != run_id
    assert not client.get_run(other).outputs.model_outputs
    assert client.get_run(run_id).outputs.model_outputs


def test_run_that_failed_does_not_count(project, gather, client):
    whole = gather(project, note="fails at first")
    broken = whole._replace(files={"metrics": [project / "nowhere"]})
    with pytest.raises(OSError, match="nowhere"):
        tracking.record(broken, "retinal-vessels", project)
    assert client.get_run(tracking.record(whole, "retinal-vessels", project)).info.status == "FINISHED"


def test_model_is_logged_as_the_pipeline_uses_it_and_registered(run, client, params, project):
    (logged,) = run.outputs.model_outputs
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert (version.name, version.source) == (params.record.registered_model, f"models:/{logged.model_id}")
    folder = project / "mlruns" / "models" / logged.model_id / "artifacts" / "artifacts"
    settings = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    views = {"flips": True, "tile": 1024, "overlap": 128, "batch_size": 4, "scales": [1.0]}
    assert settings == {"fov_diameter": 540, "clahe": 0.0} | views
    assert (folder / "model.h5").read_bytes() == (project / "data" / "model.h5").read_bytes()


@pytest.fixture
def opened(project, client, params, gather):
    """A state of its own whose training was watched for one epoch of two; its run id and what is known of it."""
    (project / "data" / "model.h5").touch()

    def open_(rows=1, end="FINISHED", **changes):
        state = gather(project, note=str(uuid.uuid4()))
        with handover.Entry(project, stores.store(project)) as entry:
            run_id = tracking.open_run({"machine": "m"}, "retinal-vessels", project)
            tracking.log_params(run_id, params.model_dump() | changes, project)
            tracking.log_epochs(run_id, state.training[:rows], 1, project)
            left = state.tags[runs.TRAINING] if end == "FINISHED" else None
            entry.note(run_id=run_id, end=end, training=left)
            tracking.close_run(run_id, end, project)
            entry.note(told=True)
        return run_id, state

    return open_


def left(project):
    """The notes of runs that are open."""
    return list(handover.folder(project).glob("*.json"))


def test_watched_run_is_completed_with_the_epochs_that_it_lacks(project, client, opened):
    run_id, state = opened()
    assert client.get_run(run_id).data.tags["stage"] == "train"
    assert runs.FINGERPRINT not in client.get_run(run_id).data.tags
    assert tracking.record(state, "retinal-vessels", project) == run_id
    found = client.get_run(run_id)
    assert (found.info.status, found.data.tags["stage"]) == ("FINISHED", "record")
    assert found.data.params.keys() == runs.flatten(state.params).keys()
    assert [(m.step, m.timestamp) for m in client.get_metric_history(run_id, "training.loss")] == [
        (1, 1),
        (2, state.time),
    ]
    assert not left(project)


def test_run_that_was_watched_with_other_params_is_not_completed(project, client, opened):
    run_id, state = opened(loss={"gamma": 3.0})
    assert tracking.record(state, "retinal-vessels", project) != run_id
    assert runs.FINGERPRINT not in client.get_run(run_id).data.tags
    for path in left(project):
        handover.remove(path)


def test_training_that_failed_is_never_completed(project, client, opened):
    run_id, state = opened(end="FAILED")
    assert tracking.record(state, "retinal-vessels", project) != run_id
    assert client.get_run(run_id).info.status == "FAILED"
    assert not left(project)


def test_run_of_a_watcher_that_died_is_killed_by_the_next(project, client, gather):
    uri = stores.store(project)
    run_id = tracking.open_run({}, "retinal-vessels", project)
    path = handover.folder(project) / "a.json"
    path.write_text(json.dumps(handover.Entry(project, uri).value._replace(run_id=run_id)._asdict()))
    assert client.get_run(run_id).info.status == "RUNNING"
    tracking.record(gather(project, note="next"), "retinal-vessels", project)
    assert client.get_run(run_id).info.status == "KILLED"
    assert not left(project)


def test_state_that_is_trained_again_is_still_one_run(project, client, opened):
    run_id, state = opened()
    assert tracking.record(state, "retinal-vessels", project) == run_id
    with handover.Entry(project, stores.store(project)) as entry:
        again = tracking.open_run({}, "retinal-vessels", project)
        entry.note(run_id=again, end="FINISHED", training=state.tags[runs.TRAINING], told=True)
    assert tracking.record(state, "retinal-vessels", project) == run_id
    assert client.get_run(again).info.lifecycle_stage == "deleted"
    assert not left(project)


def test_watched_run_that_somebody_deleted_is_made_anew(project, client, opened):
    run_id, state = opened()
    client.delete_run(run_id)
    made = tracking.record(state, "retinal-vessels", project)
    assert made != run_id
    assert client.get_run(made).info.status == "FINISHED"
    for path in left(project):
        handover.remove(path)


def test_database_whose_making_is_broken_off_is_made_anew(tmp_path, gather, finished, database, monkeypatch):
    project = shutil.copytree(finished, tmp_path / "new")
    (project / "mlflow.db").unlink()

    def broken_off(client, **arguments):
        (project / "mlflow.db.part").write_text("half of it")
        raise MlflowException("broken off")

    def made(client, **arguments):
        assert not (project / "mlflow.db.part").exists()
        shutil.copy(database, project / "mlflow.db.part")

    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", broken_off)
    with pytest.raises(OSError, match="broken off"):
        tracking.record(gather(project), "retinal-vessels", project)
    assert not (project / "mlflow.db.part").exists()
    (project / "mlflow.db.part").write_text("half of it, as `kill -9` leaves it")
    monkeypatch.setattr(mlflow.MlflowClient, "search_experiments", made)
    assert tracking.record(gather(project), "retinal-vessels", project)


def test_run_that_was_broken_off_is_no_second_run_of_its_state(project, client, gather):
    state = gather(project, note="broken off")
    with pytest.raises(OSError, match="nowhere"):
        tracking.record(state._replace(files={"metrics": [project / "nowhere"]}), "retinal-vessels", project)
    made = tracking.record(state, "retinal-vessels", project)
    experiment = client.get_experiment_by_name("retinal-vessels").experiment_id
    found = client.search_runs([experiment], f"tags.fingerprint = '{state.tags[runs.FINGERPRINT]}'")
    assert [every.info.run_id for every in found] == [made]


def test_deleted_experiment_is_refused(project, gather, client):
    client.delete_experiment(client.create_experiment("gone", artifact_location=(project / "gone").as_uri()))
    with pytest.raises(OSError, match=r"record\.experiment: expected one that is not deleted in MLflow, got 'gone'"):
        tracking.record(gather(project), "gone", project)


def test_driver_that_raises_what_it_likes_is_a_sentence(project, gather, monkeypatch):
    def fail(*_, **__):
        raise Exception("the bucket is closed")  # as S3's client does

    monkeypatch.setattr(tracking.mlflow, "log_artifacts", fail)
    with pytest.raises(OSError, match="expected an MLflow store that takes the run, got: the bucket is closed"):
        tracking.record(gather(project), "another", project)


def test_fingerprint_is_left_behind_as_a_file(project, params, client):
    run_id = main(project, params)
    written = (project / "data" / "recorded" / "f.txt").read_text(encoding="utf-8").strip()
    assert client.get_run(run_id).data.tags[runs.FINGERPRINT] == written


def test_recording_leaves_the_environment_as_it_was(run_id):
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_store_that_is_no_database_is_a_sentence(project, gather, tmp_path, monkeypatch):
    (tmp_path / "broken.db").write_text("this is no database, whatever its name says")
    uri = f"sqlite:///{tmp_path / 'broken.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(OSError, match=r"broken\.db: expected an MLflow store that answers, got: file is not"):
        tracking.record(gather(project), "retinal-vessels", project)
    assert os.environ["MLFLOW_TRACKING_URI"] == uri


def test_server_that_is_down_is_a_sentence(project, gather, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with pytest.raises(OSError, match=r"http://127.0.0.1:9: expected an MLflow store that answers"):
        tracking.record(gather(project), "retinal-vessels", project)


def test_nothing_is_reported_to_the_makers_of_mlflow():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()


def test_threads_talk_to_their_own_store_one_after_the_other(tmp_path):
    """MLflow has one tracking URI for all threads of a process."""
    first, second = (f"sqlite:///{tmp_path / name}" for name in ("first.db", "second.db"))
    entered = threading.Event()

    def enter():
        with tracking._tracking_to(second):
            entered.set()

    with tracking._tracking_to(first):
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(0.3)
        assert mlflow.get_tracking_uri() == first
    thread.join(10)
    assert entered.is_set()
