"""Run every stage on a full disk, then with space: python -m benchmarks.full_disk (as root, on Linux).

A small file system in memory holds a tiny project. Before each stage it is filled up but for a few bytes; the stage has
to end with one sentence and leave no half of a file; then the filling is taken away, and the same command has to end
well.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import projects

SIZE = 256 * 2**20  # bytes of the file system
FREE = 16 * 1024  # bytes that are left before a stage runs
FILLING = "filling"
OTHERS = ("mlruns", "mlflow.db", ".tracking", "checkpoints")  # beside the outs; those of MLflow are its own affair


def run(command: list[str], root: Path) -> tuple[int, str]:
    """Exit code of a stage and what it said last."""
    environment = projects.environment(TMPDIR=tempfile.gettempdir())
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    said = [line for line in done.stderr.replace("\r", "\n").splitlines() if line.strip()]
    return done.returncode, "traceback" if "Traceback" in done.stderr else (said or [""])[-1]


def files_of(root: Path) -> dict[Path, bytes]:
    """The content of every file that stages write."""
    found = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {path: path.read_bytes() for path in found if path.relative_to(root).parts[0] not in (FILLING, *OTHERS)}


def fill(root: Path) -> None:
    """Leave FREE bytes of the file system."""
    with (root / FILLING).open("wb") as file:
        file.write(bytes(max(shutil.disk_usage(root).free - FREE, 0)))


def stages(root: Path) -> int:
    """Print a row a stage; the number of stages that did not do as they should."""
    projects.write_params(root, projects.TINY, {"record": {"model": False}})
    bad = 0
    print("| stage | exit | said | halves | again | verdict |\n| --- | --- | --- | --- | --- | --- |")
    for name, command in projects.commands().items():
        fill(root)
        code, said = run(command, root)
        left = files_of(root)
        (root / FILLING).unlink()
        again, _ = run(command, root)
        after = files_of(root)
        halves = [path for path, content in left.items() if path.suffix == ".part" or after.get(path) != content]
        right = again == 0 and not halves and (code == 0 or said.startswith("error: "))
        bad += not right
        verdict = "-" if right else f"WRONG {', '.join(path.name for path in halves)}"
        said = said.replace(str(root), "")[:150]
        print(f"| {name} | {code} | {said} | {len(halves)} | {again} | {verdict} |", flush=True)
    return bad


def main() -> None:
    """Mount, run, unmount; ends with 1 where a stage did not do as it should."""
    argparse.ArgumentParser(prog="python -m benchmarks.full_disk", description=__doc__.splitlines()[0]).parse_args()
    root = Path(tempfile.mkdtemp())
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", root], capture_output=True, text=True
    )
    if mounted.returncode:
        sys.exit(f"error: expected to mount a file system in memory, got {mounted.stderr.strip()}")
    try:
        bad = stages(root)
    finally:
        subprocess.run(["umount", root], check=True)
        root.rmdir()
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
