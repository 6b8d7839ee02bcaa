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
    results,
    run_stage,
    start_stage,
    wait_for_checkpoint,
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Results:
    """The output of an ensemble of two networks, of four epochs each."""
    root = project(tmp_path_factory.mktemp("undisturbed"), ensemble_size=2)
    output = run_stage(root)
    assert model_io.load(root / "data" / "model" / "model.h5").output_shape == (None, None, None, 1)
    return output


@pytest.mark.slow
def test_training_that_is_stopped_again_and_again_ends_with_the_same_bytes(tmp_path, undisturbed):
    root = project(tmp_path, ensemble_size=2)
    for number, epoch in ((signal.SIGTERM, 1), (signal.SIGKILL, 3), (signal.SIGINT, 5)):
        process = start_stage(root)
        wait_for_checkpoint(root, process.is_running, epoch)
        process.send(number)
        code, stderr = process.end()
        if number != signal.SIGKILL:
            assert code == 1
            assert stderr.splitlines()[-1].startswith("stopped in epoch ")
            assert stderr.splitlines()[-1].endswith("; the same command goes on from there")
            assert not list(root.rglob("*.part"))
        assert not (root / "data" / "model").exists()
    code, stderr = start_stage(root).end()
    assert (code, results(root)) == (0, undisturbed), stderr
    assert "| 0/12 [" not in stderr  # steps: the first network was finished, the second goes on


@pytest.mark.slow
def test_training_with_another_weight_in_the_loss_begins_anew_and_gives_another_network(tmp_path, undisturbed):
    root = project(tmp_path, ensemble_size=2)
    process = start_stage(root)
    wait_for_checkpoint(root, process.is_running)
    process.send(signal.SIGKILL)
    process.end()
    (first,) = root.glob("checkpoints/*")
    change_params(root, "train", skeleton_recall_weight=[0.0, 1.0])
    code, stderr = start_stage(root).end()
    assert code == 0, stderr
    assert stderr.count("| 0/12 [") >= 2  # steps: each network begins at 0
    assert list(root.glob("checkpoints/*")) == [first]
    assert all(new != old for new, old in zip(results(root), undisturbed, strict=True))


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
