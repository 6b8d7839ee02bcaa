"""Pipeline status: whether the files in metrics/ match dvc.lock, and dvc.lock the code, data and parameters."""

import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from src.evaluation.git_revisions import FileTree
from src.params import SHORT

LOCK = Path("dvc.lock")
PARAMS, METRICS = "params.yaml", "metrics/"


class LockedFile(BaseModel, extra="allow"):
    """A file or folder that a stage read or wrote."""

    path: str
    md5: str | None = None


class LockedStage(BaseModel, extra="allow"):
    """What a stage read and wrote when it last ran, and its parameters by file and section."""

    deps: list[LockedFile] = []
    outs: list[LockedFile] = []
    params: dict[str, dict[str, Any]] = {}


class Lock(BaseModel):
    """The content of a dvc.lock."""

    stages: dict[str, LockedStage]

    def outs(self) -> dict[str, str | None]:
        """Return the hash of every output, by path."""
        return {out.path: out.md5 for stage in self.stages.values() for out in stage.outs}

    def params(self, out: str, section: str) -> object:
        """Return the section of params.yaml with which the stage that wrote `out` ran; None where it has none."""
        makers = [stage for stage in self.stages.values() if out in {entry.path for entry in stage.outs}]
        return makers[0].params.get(PARAMS, {}).get(section) if makers else None


def read_lock(tree: FileTree) -> Lock:
    """Read the dvc.lock of a tree.

    Raises:
        ValueError: there is none, or it is no such file.
    """
    text = tree.text(LOCK)
    try:
        return Lock.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "all"
        raise ValueError(f"{tree.label(LOCK)}: {key}: {first['msg']}, got {SHORT.repr(first['input'])}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{tree.label(LOCK)}: expected YAML, got {' '.join(str(error).split())}") from error


def changed_since_lock(tree: FileTree, lock: Lock, tables: Collection[Path]) -> list[str]:
    """Return a message for each file in metrics/ that is not the one its stage wrote.

    The `tables` must be there, and a stage must have written them. Other files may be missing: git does not hold what
    DVC caches. Folders are left to DVC.
    """
    outs, messages = lock.outs(), []
    for path in tables:
        if path.as_posix() not in outs:
            messages.append(f"{tree.label(LOCK)}: expected the stage that wrote {path}, found none")
    for name, md5 in outs.items():
        if name.startswith(METRICS) and not str(md5).endswith(".dir"):
            try:
                found = hashlib.md5(tree.read(Path(name)), usedforsecurity=False).hexdigest()  # as DVC's
            except ValueError as error:
                messages += [str(error)] if Path(name) in tables else []
                continue
            if found != md5:
                messages.append(f"{tree.label(Path(name))}: expected md5 {md5} as in {LOCK}, got {found}")
    return messages


def stale_stages(tree: FileTree) -> list[str]:
    """Return the stages of dvc.yaml, in its order, that DVC would run again, or that such a stage feeds.

    Neither data nor cache need be there: missing data count as unchanged, missing code as changed. Data are what git
    ignores or what lies outside the project. Stages that neither write metrics nor feed a stage that does are left out.

    Raises:
        ValueError: DVC cannot tell, and why.
    """
    from dvc.exceptions import DvcException  # a second, that reading a lock does not need

    with tree.folder() as folder:
        try:
            return _stale_stages(folder.resolve(), temporary=tree.revision is not None)
        except DvcException as error:
            reason = " ".join(str(error).split())
            raise ValueError(f"{tree.name}: expected DVC to tell which stages are stale, got {reason}") from error


def _stale_stages(folder: Path, temporary: bool) -> list[str]:
    from dvc.repo import Repo
    from dvc.repo.reproduce import plan_repro

    # DVC would leave a folder in /var/tmp for each temporary repository.
    config = {"core": {"site_cache_dir": str(folder / ".dvc" / "tmp" / "site")}} if temporary else None
    with Repo(str(folder), config=config) as repo, repo.lock:
        graph = repo.index.graph  # edges lead from a stage to those that it reads from
        ordered = plan_repro(graph)  # the latter come first
        written = {out.fs_path for stage in graph for out in stage.outs}
        stale: set[object] = set()
        relevant: set[object] = set()
        for stage in ordered:
            upstream = list(graph.successors(stage))
            inside = [dep for dep in stage.deps if Path(dep.fs_path).is_relative_to(folder)]
            code = [dep for dep in inside if dep.fs_path not in written and not repo.scm.is_ignored(dep.fs_path)]
            if (
                not stale.isdisjoint(upstream)
                or not all(dep.exists for dep in code)
                or stage.changed(allow_missing=True, upstream=upstream)
            ):
                stale.add(stage)
        for stage in reversed(ordered):
            makes_metrics = any(Path(out.fs_path).is_relative_to(folder / METRICS) for out in stage.outs)
            if makes_metrics or not relevant.isdisjoint(graph.predecessors(stage)):
                relevant.add(stage)
        return [stage.name for stage in repo.index.stages if stage in stale & relevant]
