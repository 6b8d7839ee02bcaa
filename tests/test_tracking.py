import json
import os
import subprocess
import sys
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.telemetry.utils import is_telemetry_disabled

from src import provenance, samples, tracking
from src.params import load_params
from stages import record as stage

ROOT = Path(__file__).parents[1]
SIDE = 96
PREDICT = """
import sys, mlflow, numpy
uri, model, source, target = sys.argv[1:]
mlflow.set_tracking_uri(uri)
numpy.save(target, mlflow.pyfunc.load_model(model).predict(numpy.load(source)))
"""


def git(folder, *arguments):
    """Run git with an identity of its own."""
    who = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", folder, *who, *arguments], check=True, capture_output=True)


def write_project(folder: Path) -> None:
    """A git repository with the files of a finished run; one score is undefined."""
    (folder / "metrics" / "figures").mkdir(parents=True)
    (folder / "data" / "examples").mkdir(parents=True)
    scores = {"threshold": 0.4, "drive": {"images": 1, "fov": {"f1": 0.8, "mcc": None}}}
    (folder / "metrics" / "scores.json").write_text(json.dumps(scores))
    (folder / "metrics" / "training.csv").write_text("epoch,loss,validation_loss\n1,0.9,\n2,0.7,0.8\n")
    (folder / "metrics" / "per_image.csv").write_text("dataset,id,group,f1,mcc\ndrive,01,a,0.8,\n")
    (folder / "metrics" / "figures" / "roc.png").write_bytes(b"chart")
    (folder / "metrics" / "report.md").write_text("# Report\n")
    for name in ("summary", "differences", "curves", "reliability", "audit"):
        (folder / "metrics" / f"{name}.csv").write_text("dataset\ndrive\n")
    (folder / "data" / "examples" / "drive_best.png").write_bytes(b"panel")
    (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (folder / "dvc.yaml").write_text("stages: {}\n")
    (folder / "dvc.lock").write_text("stages:\n  train:\n    outs:\n    - path: data/model\n      md5: a1b2\n")
    (folder / ".gitignore").write_text("data\nmlruns\nmlflow.db*\n")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "state")


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
def project(tmp_path_factory):
    """A project folder; the tests of this module share its database, which takes seconds to make."""
    folder = tmp_path_factory.mktemp("a project")
    write_project(folder)
    write_test_image(folder / "data" / "test")
    write_model(folder / "data" / "model.h5")
    return folder


@pytest.fixture(scope="module")
def params():
    return load_params(ROOT / "params.yaml")


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
    return mlflow.MlflowClient(tracking.store(project))


@pytest.fixture(scope="module")
def run(run_id, client):
    return client.get_run(run_id)


def paths(client, run_id, folder=None):
    """Names of all files of a run."""
    found = client.list_artifacts(run_id, folder)
    return {p for f in found for p in (paths(client, run_id, f.path) if f.is_dir else {f.path})}


def gather(project, params, **changes):
    """A run of the project without a model."""
    return tracking.gather(project, project / "metrics", project / "data" / "examples",
                           params.model_dump() | changes, None)  # fmt: skip


def test_all_params_have_flat_names(run, params):
    assert run.data.params.keys() == tracking.flatten(params.model_dump()).keys()
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
    assert {"machine", "version.tensorflow", "version.dvc"} <= run.data.tags.keys()


def test_files_are_kept_beside_the_database(run_id, client, project):
    expected = {
        *(f"pipeline/{name}" for name in tracking.PIPELINE),
        *(f"metrics/{name}" for name in (*provenance.TABLES, "report.md", "figures/roc.png")),
        "examples/drive_best.png",
        "per_image.json",
    }
    assert paths(client, run_id) == expected
    assert (project / "mlruns" / run_id / "artifacts" / "metrics" / "figures" / "roc.png").read_bytes() == b"chart"


def test_table_keeps_ids_as_text(run_id, project):
    table = json.loads((project / "mlruns" / run_id / "artifacts" / "per_image.json").read_text())
    assert table == {"columns": ["dataset", "id", "group", "f1", "mcc"], "data": [["drive", "01", "a", 0.8, None]]}


def test_same_state_twice_is_one_run(run_id, project, params):
    assert main(project, params) == run_id


def test_other_params_are_another_run_and_the_model_may_be_left_out(run_id, client, project, params):
    changed = params.model_copy(update={"record": params.record.model_copy(update={"model": False})})
    other = main(project, changed)
    assert other != run_id
    assert not client.get_run(other).outputs.model_outputs
    assert client.get_run(run_id).outputs.model_outputs


def test_run_that_failed_does_not_count(project, params, client):
    whole = gather(project, params, note="fails at first")
    broken = whole._replace(files={"metrics": [project / "nowhere"]})
    with pytest.raises(OSError, match="nowhere"):
        tracking.record(broken, "retinal-vessels", project)
    assert client.get_run(tracking.record(whole, "retinal-vessels", project)).info.status == "FINISHED"


def test_model_predicts_the_same_in_another_process(run, project, tmp_path):
    from src.models import load

    images = np.random.default_rng(2).uniform(0, 255, (2, 32, 64, 3)).astype(np.float32)
    np.save(tmp_path / "images.npy", images)
    model = f"models:/{run.outputs.model_outputs[0].model_id}"
    command = [sys.executable, "-c", PREDICT, tracking.store(project), model, "images.npy", "probability.npy"]
    environment = os.environ | {"TF_USE_LEGACY_KERAS": "1"}
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, capture_output=True)
    expected = load(project / "data" / "model.h5").predict(images, verbose=0)
    np.testing.assert_allclose(np.load(tmp_path / "probability.npy"), expected, rtol=0, atol=1e-6)


def test_model_has_signature_example_and_requirements(run, project):
    folder = project / "mlruns" / "models" / run.outputs.model_outputs[0].model_id / "artifacts"
    model = mlflow.models.Model.load(folder)
    shapes = [schema.inputs[0].shape for schema in (model.signature.inputs, model.signature.outputs)]
    assert shapes == [(-1, -1, -1, 3), (-1, -1, -1, 1)]
    assert model.load_input_example(str(folder)).shape == (1, 64, 64, 3)
    assert "segmentation-models==1.0.1" in (folder / "requirements.txt").read_text()


def test_deleted_experiment_is_refused(project, params, client):
    client.delete_experiment(client.create_experiment("gone", artifact_location=(project / "gone").as_uri()))
    with pytest.raises(ValueError, match=r"record\.experiment: expected one that is not deleted in MLflow, got 'gone'"):
        tracking.record(gather(project, params), "gone", project)


def test_fingerprint_is_left_behind_as_a_file(project, params, client):
    run_id = main(project, params)
    written = (project / "data" / "recorded" / "f.txt").read_text(encoding="utf-8").strip()
    assert client.get_run(run_id).data.tags[tracking.FINGERPRINT] == written


def test_recording_leaves_the_environment_as_it_was(run_id):
    assert "MLFLOW_TRACKING_URI" not in os.environ


def test_store_that_is_no_database_is_a_sentence(project, params, tmp_path, monkeypatch):
    (tmp_path / "broken.db").write_text("this is no database, whatever its name says")
    uri = f"sqlite:///{tmp_path / 'broken.db'}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(OSError, match=r"broken\.db: expected an MLflow store that takes the run, got: file is not"):
        tracking.record(gather(project, params), "retinal-vessels", project)
    assert os.environ["MLFLOW_TRACKING_URI"] == uri


def test_server_that_is_down_is_a_sentence(project, params, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(OSError, match=r"http://127.0.0.1:9: expected an MLflow store that takes the run"):
        tracking.record(gather(project, params), "retinal-vessels", project)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, "sqlite:////home/me/project/mlflow.db"),
        ("sqlite:///runs/all.db", "sqlite:////home/me/project/runs/all.db"),
        ("sqlite:////srv/all.db", "sqlite:////srv/all.db"),
        ("http://server:5000", "http://server:5000"),
    ],
)
def test_store_is_absolute(given, expected, monkeypatch):
    if given:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", given)
    assert tracking.store(Path("/home/me/project")) == expected


def test_changed_code_is_dirty_and_changed_params_and_results_are_not(project, params):
    (project / "params.yaml").write_text("changed: true\n")
    (project / "metrics" / "new.csv").write_text("made by a stage\n")
    clean = gather(project, params).tags["git.dirty"]
    (project / "new.py").write_text("changed = True\n")
    dirty = gather(project, params).tags["git.dirty"]
    (project / "new.py").unlink()
    assert (clean, dirty) == ("false", "true")


def test_project_without_git_and_lock_can_be_recorded(tmp_path, project, params, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folders = project / "metrics", project / "data" / "examples"
    run = tracking.gather(tmp_path, *folders, params.model_dump(), None)
    assert not [name for name in run.tags if name.startswith(("git.", "md5."))]
    assert run.files["pipeline"] == []


def test_fingerprint_knows_the_state_and_not_the_stage_that_records_it(tmp_path):
    table = tmp_path / "scores.json"
    table.write_text("{}")
    lock = {"stages": {"train": {"cmd": "a"}}}
    first = tracking.fingerprint(lock, {"seed": 1}, [table])
    assert tracking.fingerprint({"stages": {"record": {"cmd": "b"}, **lock["stages"]}}, {"seed": 1}, [table]) == first
    assert tracking.fingerprint({"stages": {"train": {"cmd": "b"}}}, {"seed": 1}, [table]) != first
    assert tracking.fingerprint(lock, {"seed": 2}, [table]) != first
    table.write_text("{} ")
    assert tracking.fingerprint(lock, {"seed": 1}, [table]) != first


@pytest.mark.parametrize(("shape", "side"), [((None, None, None, 3), 64), ((None, 96, 96, 3), 96)])
@pytest.mark.parametrize("size", [(200, 150), (20, 30)])
def test_input_example_fits_the_network_whatever_the_photograph(shape, side, size):
    image = np.full((*size, 3), 7, np.uint8)
    example = tracking.input_example(image, shape)
    assert example.shape == (1, side, side, 3)
    assert example.dtype == np.float32
    assert (example == 7).all()


def test_nothing_is_reported_to_the_makers_of_mlflow():
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert is_telemetry_disabled()


def test_per_image_table_is_read_with_text_ids(project, params):
    assert isinstance(gather(project, params).per_image, pd.DataFrame)
    assert gather(project, params).per_image["id"].tolist() == ["01"]
