"""Seconds and peak memory of the stages patch and augment on drawn photographs: python -m benchmarks.patch_augment."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETS = {"drive": (20, 584, 565, 540), "hrf": (3, 2336, 3504, 540), "hrf_native": (3, 2336, 3504, 3240)}
STEPS = ("draw", "patch", "augment")


def draw(folder: Path, name: str) -> None:
    """Write photographs of the size of a set: bright lines on a textured disc."""
    import numpy as np

    from src import samples

    count, height, width, _ = SETS[name]
    y, x = np.mgrid[:height, :width].astype(np.float32)
    fov = (y - height / 2) ** 2 + (x - width / 2) ** 2 <= (min(height, width * 0.96) / 2) ** 2
    truth = fov & (np.sin(40 * (x + 0.3 * y) / width) > 0.95)
    for subset, ids in (("train", range(count - 1)), ("validation", range(count - 1, count))):
        for number in ids:
            noise = np.random.default_rng(number).integers(0, 30, (height, width, 1))
            image = (np.array([150, 90, 50]) + noise - 40 * truth[..., None]).astype(np.uint8)
            image[~fov] = 0
            eye = samples.Eye(f"{number:02d}", f"{number:02d}", image, truth, fov, None)
            samples.write_eye(folder / subset, name, eye)
        rows = [(name, f"{number:02d}", f"{number:02d}") for number in ids]
        samples.write_table(folder / subset, rows)


def patch(folder: Path, name: str) -> None:
    """Run stage patch."""
    from src.params import load_params
    from stages.patch import main

    params = load_params()
    preparation = params.preprocess.model_copy(update={"fov_diameter": SETS[name][3]})
    main(folder / "train", folder / "validation", folder / "patches", params.patch, preparation)


def augment(folder: Path, name: str) -> None:
    """Run stage augment."""
    from src.params import load_params
    from stages.augment import main

    params = load_params()
    section = params.augment.model_copy(update={"copies": 1 if name == "hrf_native" else params.augment.copies})
    main(folder / "patches" / "train", folder / "augmented", params.patch, section)


def measure(step: str, folder: Path, name: str) -> None:
    """Run one step in this process and print its seconds, patches and peak memory."""
    begin = time.perf_counter()
    globals()[step](folder, name)
    seconds, megabytes = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    written = {"draw": "none", "patch": "patches/train", "augment": "augmented"}[step]
    size = sum(path.stat().st_size for path in (folder / written).glob("*.npy")) / 2**20
    print(f"{name:12}{step:10}{seconds:8.1f} s {megabytes:8.0f} MB peak {size:8.0f} MB written", flush=True)


def main() -> None:
    """Run every step of every set in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", nargs="*", default=list(SETS), help=f"any of {', '.join(SETS)}")
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        measure(arguments.step, arguments.folder, *arguments.sets)
        return
    for name in arguments.sets:
        with tempfile.TemporaryDirectory() as folder:
            for step in STEPS:
                command = [sys.executable, "-m", "benchmarks.patch_augment", name, "--step", step, "--folder", folder]
                done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
                if done.returncode:
                    sys.exit(done.stderr)


if __name__ == "__main__":
    main()
