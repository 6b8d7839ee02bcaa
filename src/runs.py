"""What is known of one run of the pipeline, gathered from its files; knows nothing of where it is recorded."""

import hashlib
import json
import os
import platform
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import yaml

from src import provenance, tables

PIPELINE = ("params.yaml", "dvc.yaml", "dvc.lock")
REPORT = "report.md"
RECORD = "record"  # the stage that calls this; its own entry in dvc.lock is that of the run before
FINGERPRINT = "fingerprint"
TRAINING = "training"
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # folder of images: MLflow's word


class Model(NamedTuple):
    """A model file (.h5), a photograph (H, W, 3) uint8 RGB for the input example, and how the model is used.

    `settings` are the arguments of `serving.Service`, `registered` is the name of the registered model, `code` the
    files that serve it and `requirements` the packages that these need.
    """

    path: Path
    photograph: np.ndarray
    settings: dict
    registered: str
    code: list[Path]
    requirements: list[str]


class Input(NamedTuple):
    """A folder of images that the run read: MLflow's word for its use, its data sets, its path, DVC's hash of it."""

    context: str
    name: str
    path: str
    digest: str


class Places(NamedTuple):
    """The project folder, and in it the folders of tables, of example pictures and of images, and the model file."""

    project: Path
    metrics: Path
    examples: Path
    raw: Path
    model: Path


class Run(NamedTuple):
    """What is known of one run. `files` maps a folder of the run to the files and folders that go there."""

    params: dict
    tags: dict[str, str]
    scores: dict
    training: pd.DataFrame
    per_image: pd.DataFrame
    files: dict[str, list[Path]]
    inputs: list[Input]
    model: Model | None
    time: int  # milliseconds since 1970


def gather(places: Places, params: dict, model: Model | None) -> Run:
    """Collect a run from the files of a project folder.

    `dvc.lock` may be missing (stages run by hand): the run then has no hashes of data.
    """
    project, metrics = places.project, places.metrics
    lock = _lock(project / "dvc.lock")
    tables = [metrics / name for name in provenance.TABLES]
    tags = {
        **hashes(lock),
        "dvc.lock": lock_hash(lock),
        **surroundings(project, metrics),
        TRAINING: training_hash(places.model, metrics / "training.csv"),
        FINGERPRINT: fingerprint(_recorded(lock, places), params, [*tables, *(model.code if model else [])]),
    }
    raw = places.raw.resolve().relative_to(project.resolve()).as_posix()
    files = {
        "pipeline": [project / name for name in PIPELINE if (project / name).exists()],
        "metrics": [*tables, metrics / REPORT],
        "metrics/figures": [metrics / "figures"],
        "examples": [places.examples],
    }
    now = time.time_ns() // 1_000_000
    return Run(params, tags, *read_tables(metrics), files, inputs(lock, raw, params["data"]), model, now)


def read_tables(metrics: Path) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """The scores, the row an epoch and the row an image that a folder of tables holds."""
    scores = tables.read_scores(metrics / "scores.json")
    training, per_image = (tables.read(metrics / f"{name}.csv") for name in ("training", "per_image"))
    return scores, training, per_image


def flatten(nested: dict, prefix: str = "") -> dict[str, object]:
    """Nested keys joined by dots.

    >>> flatten({"loss": {"gamma": 2.0, "balance": None}, "seed": 1})
    {'loss.gamma': 2.0, 'loss.balance': None, 'seed': 1}
    """
    flat: dict[str, object] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def hashes(lock: dict) -> dict[str, str]:
    """Tag `md5.<path>` of each output of each stage in the content of a dvc.lock.

    >>> hashes({"stages": {"train": {"outs": [{"path": "data/model", "hash": "md5", "md5": "a1.dir"}]}}})
    {'md5.data/model': 'a1.dir'}
    """
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    return {f"md5.{out['path']}": str(out["md5"]) for out in outs if "md5" in out}


def inputs(lock: dict, raw: str, data: dict) -> list[Input]:
    """The folders of images below `raw`, as far as a dvc.lock has their hashes; `data` is that section of the params.

    >>> lock = {"stages": {"download": {"outs": [{"path": "raw/test", "md5": "a1.dir"}]}}}
    >>> inputs(lock, "raw", {"train": ["drive"], "test": ["drive", "stare"]})
    [Input(context='testing', name='drive+stare', path='raw/test', digest='a1')]
    """
    known, found = hashes(lock), []
    for subset, context in CONTEXTS.items():
        path, names = f"{raw}/{subset}", data["test" if subset == "test" else "train"]
        if f"md5.{path}" in known and (subset != "validation" or data.get("validation") != 0):
            found.append(Input(context, "+".join(names), path, known[f"md5.{path}"].removesuffix(".dir")))
    return found


def _recorded(lock: dict, places: Places) -> dict[str, str]:
    """Those of `hashes` whose path stage record depends on: what else changes does not make it run again."""
    taken = [path.resolve() for path in (places.metrics, places.examples, places.model, places.raw / "test")]

    def is_taken(tag: str) -> bool:
        out = (places.project / tag.removeprefix("md5.")).resolve()
        return any(out.is_relative_to(path) for path in taken)

    return {tag: md5 for tag, md5 in hashes(lock).items() if is_taken(tag)}


def fingerprint(outs: dict[str, str], params: dict, files: list[Path]) -> str:
    """SHA-256 of the hashes of outputs, the params and the bytes of the files: equal for equal states."""
    digest = hashlib.sha256(json.dumps([outs, params], sort_keys=True, default=str).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def lock_hash(lock: dict) -> str:
    """SHA-256 of the locked stages but for the one that records: that one is locked after it."""
    return hashlib.sha256(json.dumps(_stages(lock), sort_keys=True, default=str).encode()).hexdigest()


def training_hash(model: Path, table: Path) -> str:
    """SHA-256 of the weights and of the row an epoch that a training left: it tells one training from another."""
    return hashlib.sha256((provenance.sha256(model) + provenance.sha256(table)).encode()).hexdigest()


def surroundings(project: Path, metrics: Path) -> dict[str, str]:
    """Tags of the code, of the machine, of the versions of packages, and of the DVC experiment where there is one."""
    machine = {"machine": platform.node(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    versions = {f"version.{name}": found for name, found in provenance.versions().items()}
    names = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
    experiment = {name: os.environ[name] for name in names if os.environ.get(name)}
    return {**_code(project, metrics), **machine, **versions, **experiment}


def _stages(lock: dict) -> dict:
    return {name: stage for name, stage in lock.get("stages", {}).items() if name != RECORD}


def _lock(path: Path) -> dict:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _code(project: Path, metrics: Path) -> dict[str, str]:
    """Tags of the git commit, and whether files differ from it that are neither params nor made by the pipeline."""
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return {}
    made = ["params.yaml", "dvc.lock", str(metrics.resolve())]
    changed = _git(project, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in made))
    return {"git.commit": commit} | ({} if changed is None else {"git.dirty": str(bool(changed)).lower()})


def _git(project: Path, *arguments: str) -> str | None:
    """What git says, None where there is no git, no repository or no commit."""
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
