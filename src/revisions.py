"""Files of the working tree, of another folder, of a revision of git or of a DVC experiment; no checkout is made."""

import contextlib
import io
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Tree(NamedTuple):
    """The project's files: those of a revision, or of the folder `root` where `revision` is None."""

    name: str
    revision: str | None
    root: Path = Path()

    def read(self, path: Path) -> bytes:
        """The content of a file of the project.

        Raises:
            ValueError: there is no such file.
        """
        if self.revision is None:
            if not (self.root / path).is_file():
                raise ValueError(f"{self.called(path)}: expected a file, found none")
            return (self.root / path).read_bytes()
        shown = _git("show", f"{self.revision}:./{path.as_posix()}")
        if shown.returncode:
            reason = _line(shown.stderr)
            raise ValueError(f"{self.name}: expected a committed {path}, found none ({reason})")
        return shown.stdout

    def text(self, path: Path) -> str:
        """The content of a file of the project as text; ValueError also where it is no UTF-8."""
        try:
            return self.read(path).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.called(path)}: expected UTF-8, got {error.reason}") from error

    def called(self, path: Path) -> str:
        """How a message names a file of this tree."""
        return str(path) if self == WORKING else f"{self.name}:{path}"

    @contextlib.contextmanager
    def folder(self) -> Iterator[Path]:
        """The project's folder: `root`, or for the length of a block that of a revision, in a new repository.

        What git does not hold (data, DVC's cache) is not in the latter.
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
                # Python before 3.11.4 knows no filter, and ignores this; what git packs lies inside anyway.
                files.extraction_filter = getattr(tarfile, "data_filter", None)
                files.extractall(root)
            _git("init", "--quiet", root)
            yield Path(root) / prefix


WORKING = Tree("the working tree", None)


def find(run: str, also: str = "") -> Tree:
    """The tree of a revision of git or of a DVC experiment; `also` says in a message what else was expected.

    Raises:
        ValueError: there is no such revision, or none or several experiments of that name.
    """
    if _git("rev-parse", "--verify", "--quiet", f"{run}^{{commit}}").returncode == 0:
        return Tree(run, run)
    references = _git("for-each-ref", "--format=%(refname)", "refs/exps").stdout.decode("utf-8").split()
    found = [name for name in references if name.split("/")[-1] == run and "/celery/" not in name]
    if len(found) != 1:
        several = f"{len(found)} experiments of that name" if found else "none"
        raise ValueError(f"{run}: expected {also}a git revision or an experiment, found {several}")
    return Tree(run, found[0])


def _git(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(["git", *arguments], capture_output=True, check=False)


def _line(output: bytes) -> str:
    return output.decode("utf-8").strip()
