"""Measure the peak memory of every stage with few and many images: python -m benchmarks.stage_memory.

Synthetic images, by default of HRF's size, are put into a temporary custom data set; each stage runs by its command in
dvc.yaml. Several times a second its memory and that of its child processes is added up: without and with the files that
they map, which the system drops where it needs the space.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import psutil

from robustness import scratch_project
from src.synthetic import generator

POLL_SECONDS = 0.1
LIMIT = 4096  # MB that no stage may exceed
GROWTH = 1.2  # ratio of a stage's memory with many and few images above which it is said to grow
GENERATED_HEIGHT, MIN_GENERATED_WIDTH = 292, 128  # pixels, of the synthetic images that are enlarged
CHANGES: scratch_project.Changes = {
    "data": {"train": ["folder"], "test": ["folder"]},
    "augment": {"n_per_patch": 1},
    "model": {"architecture": "residual_unet"},
    "train": {"epochs": 1, "steps_per_epoch": 2},
}
SKIPPED = ("record",)  # the memory of MLflow does not depend on the images


class Peak(NamedTuple):
    """Peak memory of a stage in MB, without and with mapped files, and its seconds."""

    own: float
    mapped: float
    seconds: float


def write_images(folder: Path, number: int, height: int, width: int) -> None:
    """Write that many different synthetic images as a custom data set."""
    for index in range(number):
        generated = generator.generate(
            1, index, GENERATED_HEIGHT, max(round(GENERATED_HEIGHT * width / height), MIN_GENERATED_WIDTH)
        )
        image = cv2.resize(generated.image[..., ::-1], (width, height), interpolation=cv2.INTER_LINEAR)
        _write(folder / "images" / f"{index:03d}.jpg", image)
        for kind, annotation in (("truth", generated.truth), ("fov", generated.fov)):
            large = cv2.resize(annotation.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
            _write(folder / kind / f"{index:03d}.png", np.where(large > 0.5, np.uint8(255), np.uint8(0)))


def _write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())


def create_project(root: Path, number: int, height: int, width: int) -> None:
    """Create a folder in which the stages can run."""
    write_images(root / "images", number, height, width)
    custom = {"data": {"folder": {"path": "images", "test_fraction": 0.5}}}
    scratch_project.write_params(root, CHANGES, custom)


def run_stage(command: list[str], root: Path) -> Peak:
    """Run a stage and watch its memory; end the program with its last output where it fails."""
    begin, most = time.perf_counter(), np.zeros(2)
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, cwd=root, env=scratch_project.environment(), stdout=output, stderr=output)
        while process.poll() is None:
            most = np.maximum(most, np.sum(_memory(process.pid) or [(0, 0)], axis=0))
            time.sleep(POLL_SECONDS)
        if process.returncode:
            output.seek(0)
            sys.exit(output.read().decode(errors="replace")[-2000:])
    own, mapped = most / 2**20
    return Peak(own, mapped, time.perf_counter() - begin)


def _memory(number: int) -> list[tuple[int, int]]:
    """Return the bytes of a process and of each child: without and with mapped files."""
    try:
        process = psutil.Process(number)
        found = [one.memory_info() for one in (process, *process.children(recursive=True))]
    except psutil.Error:  # one of them ended meanwhile
        return []
    return [(one.rss - one.shared, one.rss) for one in found]


def main() -> None:
    """Print a row for each stage; the exit code is 1 where one grows with the number of images or exceeds LIMIT."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.stage_memory", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, nargs=2, default=(5, 45), help="few and many (default: 5 45)")
    parser.add_argument("--height", type=int, default=2336, help="pixels (default: 2336)")
    parser.add_argument("--width", type=int, default=3504, help="pixels (default: 3504)")
    parser.add_argument("--stages", nargs="*", help="only these, with all that they need")
    arguments = parser.parse_args()
    commands = scratch_project.commands()
    chosen = arguments.stages or commands.keys() - {*SKIPPED}
    failed, few = 0, dict[str, float]()
    print(f"Images of {arguments.width}x{arguments.height}")
    print("| stage | images | peak memory, MB | with mapped files, MB | seconds | verdict |\n|" + " --- |" * 6)
    for number in arguments.images:
        with tempfile.TemporaryDirectory() as folder:
            create_project(Path(folder), number, arguments.height, arguments.width)
            for name in (name for name in commands if name in chosen):
                peak = run_stage(commands[name], Path(folder))
                grows = peak.own > GROWTH * few.setdefault(name, peak.own)
                verdict = "exceeds the limit" if peak.own > LIMIT else "grows" if grows else "-"
                failed += verdict != "-"
                memory = f"{peak.own:.0f} | {peak.mapped:.0f}"
                print(f"| {name} | {number} | {memory} | {peak.seconds:.0f} | {verdict} |", flush=True)
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
