"""Tags of a run: hashes of its data, params and training, its code, its machine and the versions of packages."""

import hashlib
import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from src.common import hashing, provenance
from src.evaluation.pipeline_status import Lock

RECORD_STAGE = "record"  # the stage that gathers a run; its own entry in dvc.lock is that of the previous run
FINGERPRINT = "fingerprint"  # tag: hash of the whole state
TRAINING = "training"  # tag: hash of what the training wrote
MACHINE = "machine"  # tag: host name
EXPERIMENT_NAME = "DVC_EXP_NAME"  # tag and variable, likewise the next: set by DVC in an experiment
EXPERIMENT_VARIABLES = (EXPERIMENT_NAME, "DVC_EXP_BASELINE_REV")

Params = dict[str, Any]  # params.yaml as nested dicts


def output_hashes(lock: Lock) -> dict[str, str]:
    """Return a tag `md5.<path>` for each output of each stage in dvc.lock."""
    return {f"md5.{path}": md5 for path, md5 in lock.outs().items() if md5 is not None}


def fingerprint(outputs: dict[str, str], params: Params, files: list[Path]) -> str:
    """Return the SHA-256 of hashes of outputs, params and bytes of files: equal for equal states."""
    digest = hashlib.sha256(json.dumps([outputs, params], sort_keys=True, default=str).encode())
    for file in files:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def lock_hash(lock: Lock) -> str:
    """Return the SHA-256 of the locked stages except the one that records, which is locked later."""
    stages = lock.model_dump(exclude_unset=True)["stages"]
    stages.pop(RECORD_STAGE, None)
    return hashlib.sha256(json.dumps(stages, sort_keys=True, default=str).encode()).hexdigest()


def training_hash(model: Path, table: Path) -> str:
    """Return the SHA-256 of the weights and the learning curves of a training, which identifies it."""
    return hashlib.sha256((hashing.sha256(model) + hashing.sha256(table)).encode()).hexdigest()


def environment_tags(project: Path, metrics: Path) -> dict[str, str]:
    """Return tags of code, machine and package versions, and of the DVC experiment where there is one."""
    machine = {MACHINE: platform.node(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    versions = {f"version.{name}": found for name, found in provenance.versions().items()}
    experiment = {name: os.environ[name] for name in EXPERIMENT_VARIABLES if os.environ.get(name)}
    return {**_code_tags(project, metrics), **machine, **versions, **experiment}


def _code_tags(project: Path, metrics: Path) -> dict[str, str]:
    """Return tags of the git commit, and whether files differ from it that are neither params nor pipeline outputs."""
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return {}
    excluded = ["params.yaml", "dvc.lock", str(metrics.resolve())]
    changed = _git(project, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in excluded))
    return {"git.commit": commit} | ({} if changed is None else {"git.dirty": str(bool(changed)).lower()})


def describe_changed_results(project: Path, metrics: Path) -> str | None:
    """Explain results that differ from the committed ones although code and params are the same; None otherwise.

    Another processor trains to other last digits, so that git shows changed files after a first run.
    """
    if _code_tags(project, metrics).get("git.dirty") != "false" or _git(
        project, "status", "--porcelain", "params.yaml"
    ):
        return None
    changed = _git(project, "status", "--porcelain", "--untracked-files=no", "--", str(metrics.resolve()))
    if not changed:
        return None
    return (
        f"note: {len(changed.splitlines())} files of {metrics} differ from the committed ones, though code and "
        "parameters are the same: another processor trains to other last digits. Commit them to compare your "
        f"experiments with this run, or return to the committed ones by `git restore dvc.lock {metrics}`."
    )


def _git(project: Path, *arguments: str) -> str | None:
    """Return what git prints; None where there is no git, no repository or no commit."""
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
