"""Measure the seconds of each stage of a run: python -m benchmarks.default_run [REVISION].

Stages run one after another, by their commands in dvc.yaml, in a scratch copy of a revision of the project, or of the
working tree. Nothing is restored from DVC's cache, and what DVC adds (hashing, copying to the cache) is not counted.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from robustness import scratch_project


def copy_project(folder: Path, revision: str | None) -> None:
    """Clone the project to `folder` at a revision; where that is None, with the files of the working tree."""
    subprocess.run(["git", "clone", "--quiet", "--no-checkout", Path.cwd(), folder], check=True)
    if revision is not None:
        subprocess.run(["git", "checkout", "--quiet", revision], cwd=folder, check=True)
        return
    scratch_project.copy_files(folder)


def time_stage(command: str, folder: Path) -> float:
    """Run a stage; return its seconds, or end the program with its last output where it fails."""
    environment = os.environ | {"TRACKING_LIVE": "false"}
    arguments = [sys.executable, *shlex.split(command)[1:]]
    begin = time.perf_counter()
    done = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, check=False)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr.decode(errors='replace')[-2000:]}")
    return time.perf_counter() - begin


def main() -> None:
    """Print a row for each stage as it ends, then their sum."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.default_run", description=__doc__.splitlines()[0])
    parser.add_argument("revision", nargs="?", help="of git (default: the working tree)")
    revision = parser.parse_args().revision
    print("| stage | seconds |\n| --- | --- |")
    total = 0.0
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "project"
        copy_project(folder, revision)
        stages = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
        for name, stage in stages.items():
            if "foreach" in stage:  # custom data sets, of which there are none
                continue
            seconds = time_stage(stage["cmd"], folder)
            total += seconds
            print(f"| {name} | {seconds:.1f} |", flush=True)
    print(f"| all | {total:.1f} |")


if __name__ == "__main__":
    main()
