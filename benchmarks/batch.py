"""Print what two workers of src.batch gain over one, and what a killed worker costs: python -m benchmarks.batch.

Drawn photographs of 584 x 565 pixels are predicted with the network of `models/compact.onnx`, without flips. One worker
has as many threads as the machine has cores, each of two has half as many.
"""

import argparse
import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from tqdm import tqdm

from src import batch, phantom, predict, samples

HEIGHT, WIDTH = 584, 565
POLL_SECONDS = 0.05


def draw(folder: Path, number: int) -> None:
    """Drawn photographs, numbered."""
    folder.mkdir()
    for index in tqdm(range(number), desc="draw", unit="photograph"):
        samples.write_image(folder / f"{index}.png", phantom.draw(1, index, HEIGHT, WIDTH).image)


def start(photographs: Path, out: Path, workers: int) -> subprocess.Popen:
    """The command."""
    command = [sys.executable, "-m", "src.batch", str(photographs), "--out", str(out), "--no-flips"]
    return subprocess.Popen([*command, "--workers", str(workers)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for(out: Path, number: int, process: subprocess.Popen) -> None:
    """Until so many photographs are done."""
    while len(list(out.glob("part-*/*_vessels.png"))) < number:
        if process.poll() is not None:
            sys.exit("error: the command ended too early")
        time.sleep(POLL_SECONDS)


def seconds(photographs: Path, out: Path, workers: int) -> tuple[float, float]:
    """Seconds to the first result, and from there to the end."""
    begin, process = time.perf_counter(), start(photographs, out, workers)
    wait_for(out, 1, process)
    first = time.perf_counter()
    if process.wait():
        sys.exit("error: photographs were refused")
    return first - begin, time.perf_counter() - first


def kill_one(photographs: Path, out: Path, number: int) -> int:
    """Kill a worker of two as half of the photographs are done; the exit code."""
    process = start(photographs, out, 2)
    wait_for(out, number // 2, process)
    children = psutil.Process(process.pid).children(recursive=True)
    os.kill(next(child.pid for child in children if "spawn_main" in " ".join(child.cmdline())), signal.SIGKILL)
    return process.wait()


def rows(out: Path) -> list[dict[str, str]]:
    """The rows of all photographs."""
    tables = [path.read_text(encoding="utf-8").splitlines() for path in sorted(out.glob(f"part-*/{predict.TABLE}"))]
    return [row for lines in tables for row in csv.DictReader(lines)]


def main() -> None:
    """One worker, two, and two of which one is killed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=60, help="how many to draw; 60")
    number = parser.parse_args().photographs
    with tempfile.TemporaryDirectory() as folder:
        photographs, took = Path(folder) / "photographs", {}
        draw(photographs, number)
        folders = len(batch.dealt(sorted(photographs.iterdir()), Path(folder)))
        print(f"{number} photographs in {folders} folders, {os.cpu_count()} cores")
        for workers in (1, 2):
            first, took[workers] = seconds(photographs, Path(folder) / str(workers), workers)
            each = took[workers] / (number - 1)
            print(f"{workers} worker(s): first result after {first:.1f} s, then {each:.3f} s a photograph")
        print(f"speed-up: {took[1] / took[2]:.2f}")
        out = Path(folder) / "killed"
        code = kill_one(photographs, out, number)
        done = [row["photograph"] for row in rows(out) if row["status"] == "done"]
        print(
            f"a worker killed: exit code {code}, {number - len(set(done))} lost, {len(done) - len(set(done))} doubled"
        )


if __name__ == "__main__":
    main()
