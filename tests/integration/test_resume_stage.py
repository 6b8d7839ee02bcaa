"""Stage train as a process: killed at any moment, it ends with the bytes of an undisturbed one."""

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from src.models import model_io
from src.params import load_checkpoints, load_params
from stages.train import open_training_state, training_fingerprint
from tests.training.small_training import free_ports, random_patches, tf_config

SMALL = {
    "patch": {"size": 32},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 4, "steps_per_epoch": 3, "batch_size": 2, "cpu_threads": 1},
}
COMMAND = [
    sys.executable,
    *yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"].split()[1:],
]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path.cwd()), "TRACKING_LIVE": "false"}
STREAMS = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
Results = tuple[bytes, bytes]


def project(root: Path, **train: object) -> Path:
    """A folder in which stage train can run, on a few small patches."""
    values = load_params().model_dump(mode="json") | {"checkpoints": load_checkpoints().model_dump()}
    for section, changes in SMALL.items():
        values[section] |= changes
    values["train"] |= train
    for place in ("data/augmented", "data/patches/validation"):
        (root / place).mkdir(parents=True)
        for kind, array in random_patches(side=32)._asdict().items():
            np.save(root / place / f"{kind}.npy", array)
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")
    return root


def change_params(root: Path, section: str, **values: object) -> None:
    path = root / "params.yaml"
    params = yaml.safe_load(path.read_text(encoding="utf-8"))
    params[section] |= values
    path.write_text(yaml.safe_dump(params), encoding="utf-8")


def start_stage(root: Path, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(COMMAND, cwd=root, env=ENVIRONMENT | variables, **STREAMS)


def wait_for_checkpoint(root: Path, process: subprocess.Popen) -> None:
    while not list(root.glob("checkpoints/*/*.npz")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)


def start_and_kill_stage(root: Path) -> None:
    process = start_stage(root)
    wait_for_checkpoint(root, process)
    process.kill()
    process.communicate()


def run_stage(root: Path) -> Results:
    process = start_stage(root)
    stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    assert not list(root.glob("checkpoints/*"))
    return results(root)


def results(root: Path) -> Results:
    """The model file and the table that the stage writes."""
    return (root / "data" / "model" / "model.h5").read_bytes(), (root / "metrics" / "training.csv").read_bytes()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Results:
    return run_stage(project(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_stage_ends_with_the_same_bytes(tmp_path, undisturbed, number):
    root = project(tmp_path)
    process = start_stage(root)
    wait_for_checkpoint(root, process)
    process.send_signal(number)
    stderr = process.communicate(timeout=60)[1]
    if number == signal.SIGKILL:
        assert process.returncode == -number
    else:
        assert process.returncode == 1
        assert stderr.splitlines()[-1].startswith("stopped in epoch ")
        assert stderr.splitlines()[-1].endswith("; the same command goes on from there")
        assert not list(root.rglob("*.part"))
    assert not (root / "data" / "model").exists()
    assert run_stage(root) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("alike", [True, False])
def test_workers_end_with_the_same_files_or_report_that_their_patches_differ(tmp_path, alike):
    roots, ports = [project(tmp_path / name) for name in ("first", "second")], free_ports(2)
    if not alike:
        np.save(roots[1] / "data/augmented/images.npy", random_patches(side=32).images + np.uint8(1))
    processes = [start_stage(root, TF_CONFIG=tf_config(ports, index)) for index, root in enumerate(roots)]
    try:
        stderr = [process.communicate(timeout=300)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    if alike:
        assert [process.returncode for process in processes] == [0, 0], stderr
        assert results(roots[0]) == results(roots[1])
    else:
        assert [process.returncode for process in processes] == [1, 1]
        assert all("error: TF_CONFIG: expected all 2 workers to have the same patches" in text for text in stderr)
        assert all(text.splitlines()[-1].endswith("got others at 1") for text in stderr)


@pytest.mark.slow
def test_ensemble_of_w_nets_resumes_and_saves_one_output(tmp_path):
    roots = [project(tmp_path / name, ensemble_size=2) for name in ("undisturbed", "killed")]
    for root in roots:
        change_params(root, "model", architecture="residual_w_net")
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
def test_weight_of_thin_vessels_changes_the_network(tmp_path, undisturbed):
    model, table = run_stage(project(tmp_path, thin_vessel_weight=3.0))
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


@pytest.mark.slow
def test_same_training_at_the_same_time_harms_no_checkpoint_and_both_end_alike(tmp_path, undisturbed):
    """The first is suspended after an epoch, until the second has ended; then it is killed, and resumed."""
    first, second = (project(tmp_path / ".dvc/tmp/exps/standalone" / name) for name in ("tmp1", "tmp2"))
    suspended = start_stage(first)
    wait_for_checkpoint(tmp_path, suspended)
    suspended.send_signal(signal.SIGSTOP)
    checkpoints = list(tmp_path.glob("checkpoints/*/*.npz"))
    other = start_stage(second)
    stderr = other.communicate()[1]
    assert (other.returncode, results(second)) == (0, undisturbed), stderr
    assert "warning: the same training is running; this one keeps no checkpoints" in stderr
    assert list(tmp_path.glob("checkpoints/*/*.npz")) == checkpoints
    suspended.kill()
    suspended.communicate()
    resumed = start_stage(first)
    stderr = resumed.communicate()[1]
    assert (resumed.returncode, results(first)) == (0, undisturbed), stderr
    assert " 0/12 [" not in stderr  # steps
    assert not list(tmp_path.glob("checkpoints/*"))


DVC = [sys.executable, "-m", "dvc"]
OUTS = ("data/model/model.h5", "metrics/training.csv")


def repository(root: Path) -> Path:
    """A project with stage train alone, committed with its patches, in which DVC can run experiments."""
    project(root)
    outs = [{name: {"cache": False}} for name in OUTS]
    stage = {"cmd": shlex.join(COMMAND), "deps": ["params.yaml"], "outs": outs}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}), encoding="utf-8")
    (root / ".gitignore").write_text("/checkpoints\n/logs\n", encoding="utf-8")
    user = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for order in (["git", "init", "-q"], [*DVC, "init", "-q"], ["git", "add", "."], [*user, "commit", "-qm", "begin"]):
        subprocess.run(order, cwd=root, check=True, capture_output=True)
    return root


def start_experiment(root: Path) -> subprocess.Popen:
    command = [*DVC, "exp", "run", "--temp"]
    return subprocess.Popen(command, cwd=root, env=ENVIRONMENT, start_new_session=True, **STREAMS)


@pytest.mark.slow
def test_killed_experiment_ends_with_the_same_bytes(tmp_path, undisturbed):
    root = repository(tmp_path)
    process = start_experiment(root)
    wait_for_checkpoint(root, process)
    os.killpg(process.pid, signal.SIGKILL)  # DVC, its shell and the stage
    process.communicate()
    assert list(root.glob("checkpoints/*/*.npz"))
    process = start_experiment(root)
    stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    assert "/12 [" in stderr  # steps
    assert " 0/12 [" not in stderr
    git = ["git", "for-each-ref", "--format=%(objectname)", "refs/exps"]
    (commit, *_) = subprocess.run(git, cwd=root, check=True, capture_output=True, text=True).stdout.split()
    outs = [
        subprocess.run(["git", "show", f"{commit}:{name}"], cwd=root, check=True, capture_output=True) for name in OUTS
    ]
    assert tuple(done.stdout for done in outs) == undisturbed
    assert not list(root.glob("checkpoints/*"))
