"""Runs in the local store, by stage record: `src/tracking/mlflow_logger.py` and `stages/record.py` together."""

import contextlib
import errno
import json
import logging
import os
import shutil
import sqlite3
import subprocess
import time
import uuid

import numpy as np
import pytest

from src.common import provenance
from src.data import samples
from src.tracking import mlflow_logger, run_record, run_tags, tracking_store
from src.tracking.local_store import open_local_store
from src.tracking.mlflow_setup import MlflowClient, mlflow
from src.tracking.tracking_store import TrackingError, find_experiment, local_uri
from stages import record as stage

NAME = "retinal-vessels"


@pytest.fixture(scope="module", autouse=True)
def no_store_of_the_user():
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
            patch.delenv(name, raising=False)
        patch.setenv("DVC_EXP_NAME", "brave-fox")
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory, finished):
    """A project folder whose database the tests of this module share."""
    folder = shutil.copytree(finished, tmp_path_factory.mktemp("recorded") / "a project")
    image, full = np.random.default_rng(1).integers(0, 256, (96, 96, 3), np.uint8), np.ones((96, 96), bool)
    samples.write_table(folder / "data" / "test", [("drive", "01", "a")])
    samples.write_labelled_image(
        folder / "data" / "test", "drive", samples.LabelledImage("01", "a", image, full, full, None)
    )
    return folder


def main(project, params):
    """Run the stage in the project folder."""
    data = project / "data"
    paths = project / "metrics", data / "examples", data / "model.h5", data / "test", data / "recorded" / "f.txt"
    return stage.main(*paths, params, project)


@pytest.fixture(scope="module")
def run_id(project, params):
    return main(project, params)


@pytest.fixture(scope="module")
def client(project):
    return MlflowClient(local_uri(project))


@pytest.fixture(scope="module")
def run(run_id, client):
    return client.get_run(run_id)


def paths(client, run_id, folder=None):
    """Names of all files of a run."""
    found = client.list_artifacts(run_id, folder)
    return {p for f in found for p in (paths(client, run_id, f.path) if f.is_dir else {f.path})}


def test_all_params_have_flat_names(run, params):
    assert run.data.params.keys() == run_record.flatten(params.model_dump()).keys()
    assert run.data.params["loss.gamma"] == "2.0"
    assert run.data.params["loss.focal_weight"] == "null"
    assert run.data.params["data.train"] == "phantom"


def test_metrics_are_the_scores_and_the_learning_curves_and_nothing_else(run):
    curves = {"training.loss": 0.7, "training.validation_loss": 0.8}
    assert run.data.metrics == {"drive.f1": 0.8, "validation.threshold": 0.4} | curves  # an undefined one is left out


def test_learning_curves_are_by_epoch(run_id, client):
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
        *(f"pipeline/{name}" for name in run_record.PIPELINE_FILES),
        *(f"metrics/{name}" for name in (*provenance.RESULT_TABLES, "report.md", "figures/roc.png")),
        "examples/drive_best.png",
        "per_image.json",
        "summary.json",
    }
    assert paths(client, run_id) == expected
    assert (project / "mlruns" / run_id / "artifacts" / "metrics" / "figures" / "roc.png").read_bytes() == b"chart"


def test_table_keeps_ids_as_text(run_id, project):
    table = json.loads((project / "mlruns" / run_id / "artifacts" / "per_image.json").read_text())
    (row,) = (dict(zip(table["columns"], values, strict=True)) for values in table["data"])
    assert [row[column] for column in ("dataset", "id", "tp", "f1", "mcc")] == ["drive", "01", 4, 0.8, None]


def test_images_are_inputs_with_the_hash_of_dvc(run):
    (found,) = run.inputs.dataset_inputs
    assert (found.dataset.name, found.dataset.digest) == ("phantom", "c3d4")
    assert json.loads(found.dataset.source) == {"uri": "data/test"}
    assert {tag.key: tag.value for tag in found.tags}["mlflow.data.context"] == "testing"


def test_model_is_logged_as_the_pipeline_uses_it_and_registered(run, client, params, project):
    (logged,) = run.outputs.model_outputs
    (version,) = client.search_model_versions(f"run_id = '{run.info.run_id}'")
    assert (version.name, version.source) == (params.record.registered_model_name, f"models:/{logged.model_id}")
    folder = project / "mlruns" / "models" / logged.model_id / "artifacts"
    service = json.loads((folder / "artifacts" / "settings.json").read_text(encoding="utf-8"))["service"]
    inference = {"tta_flips": True, "tile": 1024, "overlap": 128, "batch_size": 4, "tta_scales": [1.0]}
    inference |= {"logit_adjustment": False, "scale_weighting": False, "hysteresis_threshold": None}
    inference |= {"min_scale_factor": 1.0, "thin_vessel_extension": 0.0, "threshold": 0.4}
    assert service == {"fov_diameter": 540, "clahe_clip_limit": 0.0} | inference
    assert (folder / "artifacts" / "model.h5").read_bytes() == (project / "data" / "model.h5").read_bytes()
    described = mlflow.models.Model.load(str(folder))
    assert (described.model_id, described.run_id) == (logged.model_id, run.info.run_id)
    assert {metric.key for metric in client.get_logged_model(logged.model_id).metrics} >= {"drive.f1"}


def test_same_state_twice_is_one_run(run_id, project, params, caplog):
    assert main(project, params) == run_id
    assert f"this state is recorded already, as run {run_id} of experiment {NAME}" in caplog.text


def test_other_params_are_another_run_and_the_model_may_be_left_out(run_id, client, project, params):
    changed = params.model_copy(update={"record": params.record.model_copy(update={"log_model": False})})
    other = main(project, changed)
    assert other != run_id
    assert not client.get_run(other).outputs.model_outputs
    assert client.get_run(run_id).outputs.model_outputs


def test_fingerprint_is_left_behind_as_a_file(project, params, client):
    run_id = main(project, params)
    written = (project / "data" / "recorded" / "f.txt").read_text(encoding="utf-8").strip()
    assert client.get_run(run_id).data.tags[run_tags.FINGERPRINT] == written


def test_experiment_of_the_environment_replaces_that_of_the_params(project, gather, client, monkeypatch, caplog):
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    run_id = stage.record_and_send(gather(project), NAME, project)
    assert client.get_experiment(client.get_run(run_id).info.experiment_id).name == "mine"
    assert [record.getMessage() for record in caplog.records if record.name == stage.__name__] == [
        f"MLFLOW_EXPERIMENT_NAME=mine replaces record.experiment_name ({NAME})"
    ]


def test_recording_leaves_the_environment_as_it_was(run_id):
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_run_whose_recording_fails_is_recorded_by_the_next_and_once(project, gather, client):
    run = gather(project, note="fails at first")
    with pytest.raises(TrackingError, match="nowhere"):
        mlflow_logger.record(run._replace(files={"metrics": [project / "nowhere"]}), NAME, project)
    recorded = mlflow_logger.record(run, NAME, project)
    assert client.get_run(recorded).info.status == "FINISHED"
    experiment = client.get_experiment_by_name(NAME).experiment_id
    found = client.search_runs([experiment], f"tags.fingerprint = '{run.tags[run_tags.FINGERPRINT]}'")
    assert [every.info.run_id for every in found] == [recorded]


@pytest.fixture
def warned(caplog):
    """A function that records a run where that fails; returns the only warning."""

    def record(project, gather):
        caplog.clear()
        assert stage.record_and_send(gather(project, note=str(uuid.uuid4())), NAME, project) is None
        (found,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
        return found.getMessage()

    return record


def test_full_disk_is_a_warning_with_the_cause_and_the_command(project, gather, warned, monkeypatch):
    def full(*arguments, **named):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(MlflowClient, "log_artifact", full)
    message = warned(project, gather)
    assert message.startswith("WARNING: this run is not recorded (MLflow store sqlite:///")
    assert "No space left on device" in message
    assert "`dvc repro --single-item --force record` tries again" in message


def test_driver_that_raises_anything_is_a_warning(project, gather, warned, monkeypatch):
    def fail(*_, **__):
        raise Exception("the bucket is closed")  # as S3's client does

    monkeypatch.setattr(MlflowClient, "log_artifacts", fail)
    assert "the bucket is closed" in warned(project, gather)


def test_broken_database_is_a_warning(finished, gather, warned, tmp_path):
    project = shutil.copytree(finished, tmp_path / "project")
    (project / "mlflow.db").write_text("this is no database, whatever its name says")
    assert "mlflow.db: file is not a database" in warned(project, gather)


def test_read_only_folder_is_a_warning(project, gather, warned, monkeypatch):
    def read_only(*arguments, **named):
        raise PermissionError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(tracking_store, "FileLock", read_only)
    assert "Read-only file system" in warned(project, gather)


def test_locked_database_costs_seconds(project, gather, warned, monkeypatch):
    monkeypatch.setattr(tracking_store, "TIMEOUT_SECONDS", 0.2)
    with contextlib.closing(sqlite3.connect(project / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        begin = time.monotonic()
        assert "database is locked" in warned(project, gather)
        assert time.monotonic() - begin < 5


@pytest.fixture
def live(project, client, params, gather):
    """A function that logs a training live, one epoch of two; returns the run id and the state that it led to."""

    def log(hash_=True, status="FINISHED", **changes):
        state = gather(project, note=str(uuid.uuid4()))
        sections = {name: (params.model_dump() | changes)[name] for name in mlflow_logger.TRAIN_SECTIONS}
        with open_local_store(project) as opened:
            tags = {mlflow_logger.STAGE: "train"} | (
                {run_tags.TRAINING: state.tags[run_tags.TRAINING]} if hash_ else {}
            )
            run_id = mlflow_logger.create_run(opened, find_experiment(opened, NAME, project), tags)
            curves = mlflow_logger.learning_curves(state.training[:1], 1)
            mlflow_logger.log_batches(opened, run_id, curves, mlflow_logger.as_params(sections))
            opened.set_terminated(run_id, status)
        return run_id, state

    (project / "data" / "model.h5").write_bytes(uuid.uuid4().bytes)  # another training
    yield log
    (project / "data" / "model.h5").write_bytes(b"weights")


def test_live_run_is_completed_with_the_epochs_that_it_lacks(project, client, live):
    run_id, state = live()
    assert mlflow_logger.record(state, NAME, project) == run_id
    found = client.get_run(run_id)
    assert (found.info.status, found.data.tags["stage"]) == ("FINISHED", "record")
    assert found.data.params.keys() == run_record.flatten(state.params).keys()
    points = [(point.step, point.timestamp) for point in client.get_metric_history(run_id, "training.loss")]
    assert points == [(1, 1), (2, state.time)]


@pytest.mark.parametrize(
    "different", [{"loss": {"gamma": 3.0}}, {"status": "FAILED"}, {"hash_": False}, {"status": "RUNNING"}]
)
def test_live_run_of_other_params_or_of_no_finished_training_is_left_alone(project, client, live, different):
    run_id, state = live(**different)
    assert mlflow_logger.record(state, NAME, project) != run_id
    assert run_tags.FINGERPRINT not in client.get_run(run_id).data.tags
    assert client.get_run(run_id).info.lifecycle_stage == "active"


def test_live_run_of_a_state_that_is_recorded_already_is_deleted(project, client, live):
    run_id, state = live()
    assert mlflow_logger.record(state, NAME, project) == run_id
    again, _ = live()
    assert mlflow_logger.record(state, NAME, project) == run_id
    assert client.get_run(again).info.lifecycle_stage == "deleted"


def test_live_run_that_was_deleted_is_recorded_anew(project, client, live):
    run_id, state = live()
    client.delete_run(run_id)
    recorded = mlflow_logger.record(state, NAME, project)
    assert recorded != run_id
    assert client.get_run(recorded).info.status == "FINISHED"
