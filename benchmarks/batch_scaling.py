"""Measure `predict-batch` with one and two workers: python -m benchmarks.batch_scaling.

Synthetic images of 584 x 565 pixels are predicted with models/compact.onnx without test-time augmentation. One worker
has as many threads as the machine has cores, each of two has half as many.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from src.data import samples
from src.synthetic import generator

HEIGHT, WIDTH = 584, 565
POLL_SECONDS = 0.05


class Seconds(NamedTuple):
    """Seconds to the first result, and from there per image."""

    first: float
    per_image: float


def generate(folder: Path, number: int) -> None:
    """Write numbered synthetic images."""
    for index in tqdm(range(number), desc="generate", unit="image"):
        samples.write_image(folder / f"{index}.png", generator.generate(1, index, HEIGHT, WIDTH).image)


def start(images: Path, out: Path, workers: int) -> subprocess.Popen[bytes]:
    """Start the command."""
    command = [sys.executable, "-m", "src", "predict-batch", str(images), "--out", str(out), "--no-tta"]
    return subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(out: Path, number: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until so many images are done."""
    while len(list(out.glob("part-*/*_vessels.png"))) < number:
        if process.poll() is not None:
            sys.exit("error: the command ended too early")
        time.sleep(POLL_SECONDS)


def measure(images: Path, out: Path, workers: int, number: int) -> Seconds:
    """Predict all images."""
    begin, process = time.perf_counter(), start(images, out, workers)
    wait_for(out, 1, process)
    first = time.perf_counter()
    if process.wait():
        sys.exit("error: images were rejected")
    return Seconds(first - begin, (time.perf_counter() - first) / (number - 1))


def main() -> None:
    """Predict with one worker, then with two."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch_scaling", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=60, help="how many to predict, at least 2 (default: 60)")
    number = parser.parse_args().images
    if number < 2:
        parser.error(f"--images: expected at least 2, got {number}")
    with tempfile.TemporaryDirectory() as folder:
        images, found = Path(folder) / "images", {}
        generate(images, number)
        print(f"{number} images, {os.cpu_count()} cores")
        for workers in (1, 2):
            found[workers] = measure(images, Path(folder) / str(workers), workers, number)
            first, per_image = found[workers]
            print(f"{workers} worker(s): first result after {first:.1f} s, then {per_image:.3f} s/image", flush=True)
        print(f"speed-up: {found[1].per_image / found[2].per_image:.2f}", flush=True)


if __name__ == "__main__":
    main()
