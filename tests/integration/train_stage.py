"""Stage train as a process on a few small patches, shared by the tests that stop it."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import yaml

from src.params import load_checkpoints, load_params
from tests.training.small_training import random_patches

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
