"""A project in a temporary folder, in which stages run with the code of this one."""

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

Changes = Mapping[str, Mapping[str, Any]]  # values by section and key of params.yaml
TINY: Changes = {
    "phantom": {"n_train": 5, "n_test": 2, "height": 150, "width": 140},
    "preprocess": {"fov_diameter": 130},
    "patch": {"size": 64, "stride": 48, "context": 2.0},
    "augment": {"n_per_patch": 1},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2},
    "evaluate": {"tile": 96, "overlap": 32},
    "plot": {"dpi": 50, "detail_size": 32},
}


def copy_files(folder: Path) -> None:
    """Copy the files of the working tree that git does not ignore to `folder`."""
    listed = subprocess.check_output(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], text=True)
    for name in filter(os.path.isfile, listed.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name)


def write_params(folder: Path, *changes: Changes) -> None:
    """Write the project's params.yaml to `folder`, changed section by section; later changes win.

    Raises:
        KeyError: a section or key that params.yaml does not have.
    """
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for sections in changes:
        for section, changed in sections.items():
            if unknown := changed.keys() - values[section].keys():
                raise KeyError(f"{section}: {', '.join(sorted(unknown))}")
            values[section] |= changed
    (folder / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def commands() -> dict[str, list[str]]:
    """Return how each stage is started, in the order of dvc.yaml; stages of custom data sets are left out."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return {name: [sys.executable, *shlex.split(stage["cmd"])[1:]] for name, stage in stages.items() if "cmd" in stage}


def run_stage(stage: str, folder: Path, **variables: str) -> None:
    """Run a stage in `folder`; where it fails, end the program with its last output."""
    done = subprocess.run(
        commands()[stage],
        cwd=folder,
        env=environment(**variables),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace")[-2000:])


def environment(**more: str) -> dict[str, str]:
    """Return the variables of a process that runs a stage in another folder."""
    return os.environ | {"PYTHONPATH": str(Path.cwd()), "TRACKING_LIVE": "false"} | more
