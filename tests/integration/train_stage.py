"""Stage train as a process on a few small patches, shared by the tests that stop it."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml

from src.params import load_checkpoints, load_params
from tests.forked_process import ForkedProcess
from tests.integration import stage_runs
from tests.training.small_training import random_patches

SMALL = {
    "patch": {"size": 32},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 4, "steps_per_epoch": 3, "batch_size": 2, "cpu_threads": 1},
}
COMMAND = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"]
LOG = "stderr.log"
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


def start_stage(root: Path, **variables: str) -> ForkedProcess:
    return ForkedProcess(root / LOG, stage_runs.run, str(root), COMMAND, TRACKING_LIVE="false", **variables)


def wait_for_checkpoint(root: Path, is_running: Callable[[], bool], epoch: int = 1) -> None:
    """Wait for a checkpoint of this epoch or a later one; epochs count on from member to member."""
    while not any(int(path.stem[:4]) >= epoch for path in root.glob("checkpoints/*/*.npz")):
        assert is_running(), (root / LOG).read_text(encoding="utf-8") if (root / LOG).exists() else "it has ended"
        time.sleep(0.01)


def run_stage(root: Path) -> Results:
    code, stderr = start_stage(root).end()
    assert code == 0, stderr
    assert not list(root.glob("checkpoints/*"))
    return results(root)


def results(root: Path) -> Results:
    """The model file and the table that the stage writes."""
    return (root / "data" / "model" / "model.h5").read_bytes(), (root / "metrics" / "training.csv").read_bytes()
