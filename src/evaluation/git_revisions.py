"""Files of the working tree, of another folder, of a git revision or of a DVC experiment, read without a checkout."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from src.common import atomic_io


class FileTree(NamedTuple):
    """The project's files: those of a git revision, or of the folder `root` where `revision` is None."""

    name: str
    revision: str | None
    root: Path = Path()

    def read(self, path: Path) -> bytes:
        """Read a file of the project.

        Raises:
            ValueError: there is no such file.
        """
        if self.revision is None:
            if not (self.root / path).is_file():
                raise ValueError(f"{self.label(path)}: expected a file, found none")
            return (self.root / path).read_bytes()
        shown = _git("show", f"{self.revision}:./{path.as_posix()}")
        if shown.returncode:
            raise ValueError(f"{self.name}: expected a committed {path}, found none ({_line(shown.stderr)})")
        return shown.stdout

    def text(self, path: Path) -> str:
        """Read a file of the project as text; ValueError also where it is no UTF-8."""
        return atomic_io.decode_text(self.read(path), self.label(path))

    def label(self, path: Path) -> str:
        """Return how messages name a file of this tree."""
        return str(path) if self == WORKING else f"{self.name}:{path}"

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """Give the project folder: `root`, or within the block that of the revision, in a temporary repository.

        The latter lacks what git does not hold: data, and DVC's cache.
        """
        if self.revision is None:
            yield self.root
            return
        top, prefix = (_line(_git("rev-parse", f"--show-{part}").stdout) for part in ("toplevel", "prefix"))
        with tempfile.TemporaryDirectory() as root:
            archive = _git("-C", top, "archive", self.revision)
            if archive.returncode:
                raise ValueError(f"{self.name}: expected to unpack it, got {_line(archive.stderr)}")
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
                files.extraction_filter = getattr(tarfile, "data_filter", None)  # from Python 3.11.4 on
                files.extractall(root)
            _git("init", "--quiet", root)
            yield Path(root) / prefix


WORKING = FileTree("the working tree", None)


def find_tree(run: str, also: str = "") -> FileTree:
    """Find the tree of a git revision or of a DVC experiment; `also` names in messages what else was expected.

    Raises:
        ValueError: there is no such revision, or none or several experiments of that name.
    """
    if _git("rev-parse", "--verify", "--quiet", f"{run}^{{commit}}").returncode == 0:
        return FileTree(run, run)
    found = _experiments(run)
    if len(found) != 1:
        several = f"{len(found)} experiments of that name" if found else "none"
        raise ValueError(f"{run}: expected {also}a git revision or an experiment, found {several}")
    return FileTree(run, found[0])


def _experiments(name: str) -> list[str]:
    """Return the git references of the DVC experiments of that name; none outside a git repository."""
    from dvc.repo.experiments.utils import exp_refs_by_names  # a second, that a git revision does not need
    from dvc.scm import SCM, SCMError

    try:
        scm = SCM(".", search_parent_directories=True)
    except SCMError:
        return []
    try:
        return [str(reference) for reference in exp_refs_by_names(scm, {name})[name]]
    finally:
        scm.close()


def _git(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["git", *arguments], capture_output=True, check=False)


def _line(output: bytes) -> str:
    return output.decode("utf-8").strip()
