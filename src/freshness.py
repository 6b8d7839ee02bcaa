"""Whether the files in metrics/ belong to dvc.lock, and dvc.lock to code, data and parameters."""

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from src.params import SHORT
from src.revisions import Tree

LOCK, PIPELINE = Path("dvc.lock"), Path("dvc.yaml")
PARAMS, METRICS = "params.yaml", "metrics/"


class Entry(BaseModel):
    """A file or folder that a stage read or wrote."""

    path: str
    md5: str | None = None


class Stage(BaseModel):
    """What a stage read and wrote when it last ran, and its parameters by file and section."""

    deps: list[Entry] = []
    outs: list[Entry] = []
    params: dict[str, dict[str, Any]] = {}


class Lock(BaseModel):
    """A dvc.lock."""

    stages: dict[str, Stage]

    def outs(self) -> dict[str, str | None]:
        """The hash of every out, by path."""
        return {out.path: out.md5 for stage in self.stages.values() for out in stage.outs}

    def params(self, out: str, section: str) -> Any:
        """The section of params.yaml with which the stage that wrote `out` ran; None where it has no such section."""
        makers = [stage for stage in self.stages.values() if out in {entry.path for entry in stage.outs}]
        return makers[0].params.get(PARAMS, {}).get(section) if makers else None


def lock(tree: Tree) -> Lock:
    """The dvc.lock of a tree.

    Raises:
        ValueError: there is none, or it is no such file.
    """
    values = _yaml(tree, LOCK)
    try:
        return Lock.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "all"
        raise ValueError(f"{tree.called(LOCK)}: {key}: {first['msg']}, got {SHORT.repr(first['input'])}") from error


def altered(tree: Tree, locked: Lock, tables: Iterable[Path]) -> list[str]:
    """A sentence for each file in metrics/ that is not the one which its stage wrote, and each of `tables` without one.

    Folders are left to DVC.
    """
    outs = locked.outs()
    sentences = [
        f"{tree.called(LOCK)}: expected the stage that wrote {path}, found none"
        for path in tables
        if path.as_posix() not in outs
    ]
    files = {path: md5 for path, md5 in outs.items() if path.startswith(METRICS) and not str(md5).endswith(".dir")}
    return sentences + [said for path, md5 in files.items() if (said := _other_bytes(tree, Path(path), md5))]


def stale(tree: Tree, locked: Lock) -> list[str]:
    """The stages of dvc.yaml, in its order, that DVC would run again, or that such a stage feeds.

    Decided by `dvc repro --allow-missing --dry`: it needs neither data nor cache. It fails only where the data of a
    stale stage is missing, so that what it says of each stage counts. It takes files of code that are gone for data
    that is missing; these are looked for here. A stage that writes no metrics and feeds no stage does not count.

    Raises:
        ValueError: DVC cannot tell, and why.
    """
    pipeline = _yaml(tree, PIPELINE)
    if not isinstance(pipeline, dict) or not isinstance(pipeline.get("stages"), dict):
        raise ValueError(f"{tree.called(PIPELINE)}: expected stages, found none")
    with tree.folder() as folder:
        said = _dry(folder)
        gone = _gone(locked, folder)
    if said.returncode and "failed to reproduce '" not in said.stderr:
        reason = " ".join(said.stderr.split()) or f"exit code {said.returncode}"
        raise ValueError(f"{tree.name}: expected DVC to say which stages are stale, got {reason}")
    unchanged = set(re.findall(r"^Stage '(.+)' didn't change", said.stdout, re.MULTILINE)) - gone
    return [name for name in pipeline["stages"] if name not in unchanged and not _leads_nowhere(name, locked)]


def _other_bytes(tree: Tree, path: Path, md5: str | None) -> str | None:
    """A sentence where the file is missing or its MD5 is another; DVC's hash, which guards against no one's malice."""
    try:
        found = hashlib.md5(tree.read(path), usedforsecurity=False).hexdigest()
    except ValueError as error:
        return str(error)
    return None if found == md5 else f"{tree.called(path)}: expected md5 {md5} as in {LOCK}, got {found}"


def _dry(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "dvc", "repro", "--allow-missing", "--dry", "--keep-going"]
    elsewhere = {} if folder == Path() else {"DVC_SITE_CACHE_DIR": str(folder.resolve() / ".dvc" / "tmp" / "site")}
    environment = os.environ | elsewhere  # DVC would leave a folder in /var/tmp for each temporary repository
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)


def _gone(locked: Lock, folder: Path) -> set[str]:
    """The stages that read a file which is no more, no stage writes and git does not ignore: code, not data."""
    sources = {name: {dep.path for dep in stage.deps} - set(locked.outs()) for name, stage in locked.stages.items()}
    missing = {path for path in set().union(*sources.values()) if not (folder / path).exists()}
    if missing:
        command = ["git", "check-ignore", "--", *missing]
        ignored = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", check=False)
        missing -= set(ignored.stdout.splitlines())
    return {name for name, paths in sources.items() if paths & missing}


def _leads_nowhere(name: str, locked: Lock) -> bool:
    """Whether no file of the stage is in metrics/ or read by another stage; false for a stage that never ran."""
    if name not in locked.stages:
        return False
    read = {dep.path for stage in locked.stages.values() for dep in stage.deps}
    return not any(out.path.startswith(METRICS) or out.path in read for out in locked.stages[name].outs)


def _yaml(tree: Tree, path: Path) -> Any:
    text = tree.text(path)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{tree.called(path)}: expected YAML, got {' '.join(str(error).split())}") from error
