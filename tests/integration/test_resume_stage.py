"""Stage train as a process: stopped at any moment, it ends with the bytes of an undisturbed one."""

import signal
from pathlib import Path

import pytest

from src.models import model_io
from src.params import load_params
from stages.train import open_training_state, training_fingerprint
from tests.integration.train_stage import (
    Results,
    change_params,
    project,
    run_stage,
    start_and_kill_stage,
    start_stage,
    wait_for_checkpoint,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Results:
    return run_stage(project(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_stage_ends_with_the_same_bytes(tmp_path, undisturbed, number):
    root = project(tmp_path)
    process = start_stage(root)
    wait_for_checkpoint(root, process)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith("stopped in epoch ")
    assert stderr.splitlines()[-1].endswith("; the same command goes on from there")
    assert not list(root.rglob("*.part"))
    assert not (root / "data" / "model").exists()
    assert run_stage(root) == undisturbed


@pytest.mark.slow
def test_ensemble_resumes_and_saves_one_output(tmp_path):
    roots = [project(tmp_path / name, ensemble_size=2) for name in ("undisturbed", "killed")]
    start_and_kill_stage(roots[1])
    assert run_stage(roots[0]) == run_stage(roots[1])
    assert model_io.load(roots[0] / "data" / "model" / "model.h5").output_shape == (None, None, None, 1)


@pytest.mark.slow
def test_training_with_other_params_begins_anew(tmp_path):
    root = project(tmp_path)
    start_and_kill_stage(root)
    (first,) = root.glob("checkpoints/*")
    change_params(root, "loss", gamma=3.0)
    process = start_stage(root)
    stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    assert "0/12" in stderr  # steps
    assert list(root.glob("checkpoints/*")) == [first]


@pytest.mark.slow
@pytest.mark.parametrize("weight", [{"thin_vessel_weight": 3.0}, {"skeleton_recall_weight": 1.0}], ids=str)
def test_weights_in_the_loss_change_the_network(tmp_path, undisturbed, weight):
    model, table = run_stage(project(tmp_path, **weight))
    assert model != undisturbed[0]
    assert table != undisturbed[1]


def test_checkpoints_are_at_the_real_root_of_an_experiment(tmp_path, monkeypatch):
    params = load_params()
    folders = []
    for root in [project(tmp_path / name) for name in ("root", "root/.dvc/tmp/exps/standalone/tmp1")]:
        monkeypatch.chdir(root)
        inputs = [Path("data/augmented"), Path("data/patches/validation")]
        fingerprint = training_fingerprint(params.model, params.loss, params.train, inputs)
        folders.append(open_training_state(fingerprint, retention_days=1).store.folder)
    assert folders[0] == folders[1]
    assert folders[0].parent == tmp_path / "root" / "checkpoints"
