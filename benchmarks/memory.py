"""Peak memory of every stage with few and with many photographs: python -m benchmarks.memory.

Drawn photographs, by default of HRF's size, are put into a temporary `folder` data set; each stage runs by its command
in dvc.yaml, as a process of its own. Several times a second, its memory and that of the processes below it is added up:
what is their own, and with the files that they map, which the system drops where it needs the space.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import psutil

from benchmarks import projects
from src import phantom

POLL_SECONDS = 0.1
LIMIT = 4096  # MB that no stage may pass
GROWTH = 1.2  # of a stage's memory, between few and many photographs, above which it is said to grow
DRAWN = 292  # pixels, height of the phantoms that are enlarged
CHANGES = {
    "data": {"train": ["folder"], "test": ["folder"]},
    "augment": {"copies": 1},
    "model": {"architecture": "residual_unet"},
    "train": {"epochs": 1, "steps_per_epoch": 2},
}
SKIPPED = ("record",)  # what MLflow takes does not depend on the photographs


def draw(folder: Path, number: int, height: int, width: int) -> None:
    """Write that many different eyes as a user's folder."""
    for kind in ("images", "truth", "fov"):
        (folder / kind).mkdir(parents=True)
    for index in range(number):
        eye = phantom.draw(1, index, DRAWN, max(round(DRAWN * width / height), 128))
        pictures = {"images": eye.image[..., ::-1], "truth": eye.truth, "fov": eye.fov}
        for kind, picture in pictures.items():
            scaled = picture if kind == "images" else picture.astype(np.uint8) * 255
            large = cv2.resize(scaled, (width, height), interpolation=cv2.INTER_LINEAR)
            large = large if kind == "images" else np.where(large > 127, np.uint8(255), np.uint8(0))
            (folder / kind / f"{index:03d}.{'jpg' if kind == 'images' else 'png'}").write_bytes(
                cv2.imencode(".jpg" if kind == "images" else ".png", large)[1].tobytes()
            )


def project(root: Path, number: int, height: int, width: int) -> None:
    """A folder in which the stages can run."""
    draw(root / "photographs", number, height, width)
    own = {"data": {"folder": {"path": "photographs", "test": 0.5}}}
    projects.write_params(root, CHANGES, own)


def peak(command: list[str], root: Path) -> tuple[float, float, float]:
    """Run a stage; MB of its own, MB with mapped files, seconds."""
    begin, most = time.perf_counter(), np.zeros(2)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(command, cwd=root, env=projects.environment(), stdout=said, stderr=said)
        while process.poll() is None:
            most = np.maximum(most, np.sum(_sizes(process.pid) or [(0, 0)], axis=0))
            time.sleep(POLL_SECONDS)
        if process.returncode:
            said.seek(0)
            sys.exit(said.read().decode(errors="replace")[-2000:])
    return *(most / 2**20), time.perf_counter() - begin


def _sizes(number: int) -> list[tuple[int, int]]:
    """Bytes of the process and of each below it: of its own, and with mapped files."""
    try:
        process = psutil.Process(number)
        found = [one.memory_info() for one in (process, *process.children(recursive=True))]
    except psutil.Error:  # one of them ended meanwhile
        return []
    return [(one.rss - one.shared, one.rss) for one in found]


def main() -> None:
    """Print a row a stage; ends with 1 where one grows with the number of photographs or passes LIMIT."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__.splitlines()[0])
    parser.add_argument("--numbers", type=int, nargs=2, default=(5, 45), help="of photographs, few and many")
    parser.add_argument("--height", type=int, default=2336)
    parser.add_argument("--width", type=int, default=3504)
    parser.add_argument("--stages", nargs="*", help="only these, with all that they need")
    given = parser.parse_args()
    every = projects.commands()
    commands = {name: every[name] for name in every if name in (given.stages or every.keys() - {*SKIPPED})}
    bad, few = 0, {}
    print(f"Photographs of {given.width}x{given.height}")
    print(
        "| stage | photographs | MB | MB with mapped files | seconds | verdict |\n| --- | --- | --- | --- | --- | --- |"
    )
    for number in given.numbers:
        with tempfile.TemporaryDirectory() as folder:
            project(Path(folder), number, given.height, given.width)
            for name, command in commands.items():
                own, mapped, seconds = peak(command, Path(folder))
                grows = own > GROWTH * few.setdefault(name, own)
                verdict = "more than the limit" if own > LIMIT else "grows" if grows else "-"
                bad += verdict != "-"
                print(f"| {name} | {number} | {own:.0f} | {mapped:.0f} | {seconds:.0f} | {verdict} |", flush=True)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
