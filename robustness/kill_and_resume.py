"""Kill a small training at random moments and compare its result: python -m robustness.kill_and_resume [--dvc].

Stage train runs on random patches in a temporary folder, is killed by SIGKILL, and is started again. Model and training
log have to be, byte for byte, those of an undisturbed training. `--dvc` sends SIGTERM to `dvc repro` instead, and
counts the processes that outlive it.
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
from typing import NamedTuple

import numpy as np
import psutil
import yaml

from robustness import scratch_project

COMMAND = scratch_project.commands()["train"]
RESULTS = ("data/model/model.h5", "metrics/training.csv")
PATCH_SIZE = 32
SMALL: scratch_project.Changes = {
    "patch": {"size": PATCH_SIZE},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 8, "steps_per_epoch": 60, "batch_size": 2, "cpu_threads": 1, "patience": 4},
}
PATCHES = 7
EARLY = 4  # one kill in so many is during loading or in the first epoch
WRITING = 5  # one kill in so many waits for the writing of the next checkpoint
POLL_SECONDS = 0.01
ORPHAN_SECONDS = 60.0  # in which a process has to end after dvc has


class Kill(NamedTuple):
    """A kill: moment, phase that it hit, epochs that were safe, seconds of the second run, whether bytes are equal."""

    seconds: float
    phase: str
    safe_epochs: int
    resumed_seconds: float
    identical: bool


def create_project(folder: Path) -> Path:
    """Create a folder in which stage train can run, and DVC run it."""
    rng = np.random.default_rng(1)
    for place in ("data/augmented", "data/patches/validation"):
        truth = rng.random((PATCHES, PATCH_SIZE, PATCH_SIZE)) < 0.3
        images = np.where(truth[..., None], 60, 180) + rng.integers(-20, 20, (*truth.shape, 3))
        (folder / place).mkdir(parents=True)
        for kind, array in {"images": images.astype(np.uint8), "truth": truth, "fov": truth | True}.items():
            np.save(folder / place / f"{kind}.npy", array)
    scratch_project.write_params(folder, SMALL)
    return folder


def start(folder: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process in that folder, with the code of this project."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env=scratch_project.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def start_training(folder: Path) -> subprocess.Popen[bytes]:
    """Start stage train."""
    return start(folder, COMMAND)


def read_results(folder: Path) -> list[bytes]:
    """Read the files that the stage writes."""
    return [(folder / name).read_bytes() for name in RESULTS]


def progress(folder: Path) -> tuple[int, str]:
    """Return the epochs that are safe in a checkpoint, and the phase in which the process was hit."""
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


def wait_for_first_epoch(folder: Path, process: subprocess.Popen[bytes]) -> float:
    """Return the seconds until the first epoch has ended."""
    begin = time.perf_counter()
    while process.poll() is None and not (folder / RESULTS[1]).exists():
        time.sleep(POLL_SECONDS)
    return time.perf_counter() - begin


def wait_for_write(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Return while a checkpoint is being written, which takes milliseconds."""
    while process.poll() is None and not list(folder.glob("checkpoints/*/*.part")):
        pass


def kill_and_resume(folder: Path, seconds: float, writing: bool, expected: list[bytes]) -> Kill | None:
    """Run, kill, run again; None where the training had ended by then.

    Args:
        folder: a project.
        seconds: moment of the kill, after the end of the first epoch; from the start if negative.
        writing: whether to wait from that moment until a checkpoint is being written.
        expected: results of an undisturbed training.
    """
    process = start_training(folder)
    if seconds >= 0:
        wait_for_first_epoch(folder, process)
    time.sleep(abs(seconds))
    if writing:
        wait_for_write(folder, process)
    process.send_signal(signal.SIGKILL)
    if process.wait() == 0:
        return None
    safe, phase = progress(folder)
    begin = time.perf_counter()
    code = start_training(folder).wait()
    resumed = time.perf_counter() - begin
    left = [*folder.glob("checkpoints/*"), *folder.rglob("*.part")]
    identical = code == 0 and read_results(folder) == expected and not left
    return Kill(seconds, phase, safe, resumed, identical)


def run_kills(number: int, seed: int) -> int:
    """Print a row for each kill; return the number of trainings whose results differ."""
    rng, failed = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        undisturbed = create_project(Path(folder) / "undisturbed")
        process = start_training(undisturbed)
        first, begin = wait_for_first_epoch(undisturbed, process), time.perf_counter()
        if process.wait():
            sys.exit("error: the undisturbed training failed")
        rest, expected = time.perf_counter() - begin, read_results(undisturbed)
        print(f"undisturbed: {first:.1f} s to the end of the first epoch, {rest:.1f} s for the others")
        print("Seconds count from the end of the first epoch, negative ones from the start.")
        print("| kill | seconds | phase | epochs kept | seconds of the second run | identical |\n|" + " --- |" * 6)
        run = 1
        while run <= number:
            moment = -rng.uniform(0, first) if run % EARLY == 0 else rng.uniform(0, rest)
            project = create_project(Path(folder) / "killed")
            kill = kill_and_resume(project, moment, run % WRITING == 0, expected)
            shutil.rmtree(project)
            if kill is None:  # the machine was busier when `rest` was timed
                continue
            failed += not kill.identical
            cells = (f"{kill.seconds:.1f}", kill.phase, str(kill.safe_epochs), f"{kill.resumed_seconds:.1f}")
            print(f"| {run} | {' | '.join(cells)} | {'yes' if kill.identical else 'NO'} |", flush=True)
            run += 1
    return failed


def terminate_dvc(folder: Path, shell: str) -> int:
    """Send SIGTERM to `dvc repro` once there is a checkpoint; print and return how many processes outlive it."""
    create_project(folder)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    outs = [{name: {"cache": False}} for name in RESULTS]
    pipeline = {"stages": {"train": {"cmd": shlex.join(COMMAND), "outs": outs}}}
    (folder / "dvc.yaml").write_text(yaml.safe_dump(pipeline), encoding="utf-8")
    os.environ["SHELL"] = shell  # with which DVC starts a stage
    dvc = psutil.Process(start(folder, [sys.executable, "-m", "dvc", "repro"]).pid)
    while not list(folder.glob("checkpoints/*/*.npz")):
        if not dvc.is_running() or dvc.status() == psutil.STATUS_ZOMBIE:
            sys.exit("error: dvc repro ended before the first checkpoint")
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
    parser = argparse.ArgumentParser(prog="python -m robustness.kill_and_resume", description=__doc__.splitlines()[0])
    parser.add_argument("--number", type=int, default=20, help="of kills (default: 20)")
    parser.add_argument("--seed", type=int, default=1, help="of the moments (default: 1)")
    parser.add_argument("--dvc", action="store_true", help="send SIGTERM to dvc instead")
    arguments = parser.parse_args()
    if arguments.dvc:
        with tempfile.TemporaryDirectory() as folder:
            failed = sum(terminate_dvc(Path(folder) / Path(shell).name, shell) for shell in ("/bin/bash", "/bin/sh"))
    else:
        failed = run_kills(arguments.number, arguments.seed)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
