"""Kill a small training at random moments and see whether it ends like the undisturbed one: python -m benchmarks.kills.

Stage train runs on drawn patches in a temporary folder, is killed by SIGKILL, and is started again. `--dvc` sends
SIGTERM to `dvc repro` instead, and counts the processes that live on.
"""

import argparse
import os
import random
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import yaml

from benchmarks import projects

COMMAND = projects.commands()["train"]
RESULTS = ("data/model/model.h5", "metrics/training.csv")
SMALL = {
    "patch": {"size": 32},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 8, "steps_per_epoch": 60, "batch_size": 2, "threads": 1, "patience": 4},
}
PATCHES = 7
EARLY = 4  # one kill in so many is in the loading or the first epoch
WRITING = 5  # one kill in so many waits for the next checkpoint's write
POLL_SECONDS = 0.01
ORPHAN_SECONDS = 60.0  # in which a process has to end after dvc has


def project(folder: Path) -> Path:
    """A folder in which stage train can run, and DVC run it."""
    rng = np.random.default_rng(1)
    for place in ("data/augmented", "data/patches/validation"):
        side = SMALL["patch"]["size"]
        truth = rng.random((PATCHES, side, side)) < 0.3
        images = np.where(truth[..., None], 60, 180) + rng.integers(-20, 20, (*truth.shape, 3))
        (folder / place).mkdir(parents=True)
        for kind, array in {"images": images.astype(np.uint8), "truth": truth, "fov": truth | True}.items():
            np.save(folder / place / f"{kind}.npy", array)
    projects.write_params(folder, SMALL)
    return folder


def start(folder: Path, command: list[str]) -> subprocess.Popen:
    """A process in that folder, with the code of this project."""
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, cwd=folder, env=projects.environment(), start_new_session=True, **streams)


def stage(folder: Path) -> subprocess.Popen:
    """Stage train."""
    return start(folder, COMMAND)


def results(folder: Path) -> list[bytes]:
    """The files that the stage writes."""
    return [(folder / name).read_bytes() for name in RESULTS]


def reached(folder: Path) -> tuple[int, str]:
    """The epochs that are safe in a checkpoint, and what the process was doing as it was hit."""
    paths = sorted(folder.glob("checkpoints/*/*.npz"))
    safe = int(paths[-1].name[:4]) if paths else 0
    if list(folder.glob("checkpoints/*/*.part")):
        return safe, "checkpoint write"
    if (folder / RESULTS[0]).exists():
        return safe, "after the end"
    table = folder / RESULTS[1]
    rows = len(table.read_text(encoding="utf-8").splitlines()) - 1 if table.exists() else 0
    if rows > safe:
        return safe, "end of epoch"
    return safe, "mid-epoch" if rows else "loading, epoch 1"


def until_first_row(folder: Path, process: subprocess.Popen) -> float:
    """Seconds until the first epoch has ended."""
    begin = time.perf_counter()
    while process.poll() is None and not (folder / RESULTS[1]).exists():
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - begin


def await_write(folder: Path, process: subprocess.Popen) -> None:
    """Return within a checkpoint's write, which takes milliseconds."""
    while process.poll() is None and not list(folder.glob("checkpoints/*/*.part")):
        pass


def kill(folder: Path, seconds: float, writing: bool, expected: list[bytes]) -> tuple | None:
    """One row: run, kill `seconds` after the end of the first epoch, or from the start if negative, run again.

    `writing`: as soon as a checkpoint is written after that moment. None where the training had ended by then.
    """
    process = stage(folder)
    if seconds >= 0:
        until_first_row(folder, process)
    time.sleep(abs(seconds))
    if writing:
        await_write(folder, process)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        return None
    safe, where = reached(folder)
    begin = time.perf_counter()
    code = stage(folder).wait()
    again = time.perf_counter() - begin
    left = [*folder.glob("checkpoints/*"), *folder.rglob("*.part")]
    same = "yes" if code == 0 and results(folder) == expected and not left else "NO"
    return f"{seconds:.1f}", where, safe, f"{again:.1f}", same


def kills(number: int, seed: int) -> int:
    """Print the table; the number of trainings that did not end alike."""
    rng, bad = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        untouched = project(Path(folder) / "untouched")
        process = stage(untouched)
        first, begin = until_first_row(untouched, process), time.perf_counter()
        if process.wait():
            sys.exit("error: the undisturbed training failed")
        rest, expected = time.perf_counter() - begin, results(untouched)
        print(f"undisturbed: {first:.1f} s to the end of the first epoch, {rest:.1f} s for the others")
        print("Seconds are those from the end of the first epoch, negative ones from the start.")
        print("| kill | seconds | where | epochs kept | seconds of the second run | identical |")
        print("| --- | --- | --- | --- | --- | --- |")
        run = 1
        while run <= number:
            moment = -rng.uniform(0, first) if run % EARLY == 0 else rng.uniform(0, rest)
            row = kill(project(Path(folder) / "killed"), moment, run % WRITING == 0, expected)
            shutil.rmtree(Path(folder) / "killed")
            if row is None:  # the machine was busier when `rest` was timed
                continue
            bad += row[-1] != "yes"
            print("|", run, "|", *(f"{cell} |" for cell in row), flush=True)
            run += 1
    return bad


def terminate_dvc(folder: Path, shell: str) -> int:
    """Print and return how many processes outlive `dvc repro`, killed by SIGTERM as the stage has a checkpoint."""
    project(folder)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    outs = [{name: {"cache": False}} for name in RESULTS]
    pipeline = {"stages": {"train": {"cmd": shlex.join(COMMAND), "outs": outs}}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    os.environ["SHELL"] = shell  # with which DVC starts a stage
    dvc = psutil.Process(start(folder, [sys.executable, "-m", "dvc", "repro"]).pid)
    while not list(folder.glob("checkpoints/*/*.npz")):
        time.sleep(0.1)
    children = dvc.children(recursive=True)
    dvc.terminate()
    dvc.wait()
    begin = time.perf_counter()
    _, alive = psutil.wait_procs(children, ORPHAN_SECONDS)
    took = time.perf_counter() - begin
    print(f"{shell}: {len(children)} processes below dvc, {len(alive)} alive {took:.1f} s after SIGTERM to it")
    for process in alive:
        process.kill()
    return len(alive)


def main() -> None:
    """Kill the stage, or DVC."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.kills", description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=20, help="how often")
    parser.add_argument("--seed", type=int, default=1, help="of the moments")
    parser.add_argument("--dvc", action="store_true", help="send SIGTERM to dvc instead")
    given = parser.parse_args()
    if given.dvc:
        with tempfile.TemporaryDirectory() as folder:
            bad = sum(terminate_dvc(Path(folder) / Path(shell).name, shell) for shell in ("/bin/bash", "/bin/sh"))
    else:
        bad = kills(given.number, given.seed)
    sys.exit(bad)


if __name__ == "__main__":
    main()
