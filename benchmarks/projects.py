"""A project in a temporary folder, for the benchmarks that run stages there with the code of this one."""

import os
import shlex
import sys
from pathlib import Path

import yaml

TINY = {
    "phantom": {"train": 5, "test": 2, "height": 150, "width": 140},
    "preprocess": {"fov_diameter": 130},
    "patch": {"size": 64, "stride": 48, "context": 2.0},
    "augment": {"copies": 1},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2},
    "evaluate": {"tile": 96, "overlap": 32},
    "plot": {"dpi": 50, "zoom": 32},
}


def write_params(folder: Path, *changes: dict[str, dict]) -> None:
    """Write the project's params.yaml to `folder`, changed section by section; later changes win."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for sections in changes:
        for section, changed in sections.items():
            values[section] |= changed
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def commands() -> dict[str, list[str]]:
    """How each stage is started, in the order of dvc.yaml."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: [sys.executable, *shlex.split(stage["cmd"])[1:]] for name, stage in stages.items()}


def environment(**more: str) -> dict[str, str]:
    """The variables of a process that runs a stage in another folder."""
    return os.environ | {"PYTHONPATH": str(Path.cwd()), "TRACKING_LIVE": "false"} | more
