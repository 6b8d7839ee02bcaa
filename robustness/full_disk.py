"""Run every stage on a full disk, then with space: python -m robustness.full_disk (as root, on Linux).

A small file system in memory holds a tiny project. Before each stage it is filled up but for a few bytes; the stage has
to end with one error message and leave no incomplete file. Then the filling is removed, and the same command has to
succeed.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from robustness import scratch_project

SIZE = 256 * 2**20  # bytes of the file system
FREE = 16 * 1024  # bytes that are left before a stage runs
FILLING = "filling"
OTHERS = ("mlruns", "mlflow.db", "checkpoints", "logs")  # beside the outs; MLflow writes its own files
SHOWN = 150  # characters of a message


class Outcome(NamedTuple):
    """Exit code of a stage, and its last line on stderr (`traceback` where there is one)."""

    code: int
    message: str


def run(command: list[str], root: Path) -> Outcome:
    """Run a stage in `root`."""
    environment = scratch_project.environment(TMPDIR=tempfile.gettempdir())
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    return Outcome(done.returncode, "traceback" if "Traceback" in done.stderr else (lines or [""])[-1])


def read_files(root: Path) -> dict[Path, bytes]:
    """Return the content of every file that stages write."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path: path.read_bytes() for path in found if path.relative_to(root).parts[0] not in (FILLING, *OTHERS)}


def fill(root: Path) -> None:
    """Leave FREE bytes of the file system."""
    with (root / FILLING).open("wb") as file:
        file.write(bytes(max(shutil.disk_usage(root).free - FREE, 0)))


def run_stages(root: Path) -> int:
    """Print a row for each stage; return the number of stages that failed."""
    scratch_project.write_params(root, scratch_project.TINY, {"record": {"log_model": False}})
    failed = 0
    print("| stage | exit | message | incomplete files | exit with space | verdict |\n|" + " --- |" * 6)
    for name, command in scratch_project.commands().items():
        fill(root)
        full = run(command, root)
        left = read_files(root)
        (root / FILLING).unlink()
        again = run(command, root)
        after = read_files(root)
        incomplete = [path for path, content in left.items() if path.suffix == ".part" or after.get(path) != content]
        passes = again.code == 0 and not incomplete and (full.code == 0 or full.message.startswith("error: "))
        failed += not passes
        verdict = "pass" if passes else f"FAIL {', '.join(path.name for path in incomplete)}"
        message = full.message.replace(str(root), "")[:SHOWN]
        print(f"| {name} | {full.code} | {message} | {len(incomplete)} | {again.code} | {verdict} |", flush=True)
    return failed


def main() -> None:
    """Mount, run, unmount; the exit code is 1 where a stage failed."""
    argparse.ArgumentParser(prog="python -m robustness.full_disk", description=__doc__.splitlines()[0]).parse_args()
    root = Path(tempfile.mkdtemp())
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(root)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        sys.exit(f"error: expected to mount a file system in memory, got {mounted.stderr.strip()}")
    try:
        failed = run_stages(root)
    finally:
        subprocess.run(["umount", root], check=True)
        root.rmdir()
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
