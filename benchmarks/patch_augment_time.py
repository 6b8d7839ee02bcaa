"""Measure time and memory of stages patch and augment: python -m benchmarks.patch_augment_time [SET ...].

Images of the size of DRIVE and HRF, bright lines on a textured disc, are written; each step runs in a process of its
own.
"""

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.data import samples
from src.params import load_params
from stages import augment, patch


class ImageSet(NamedTuple):
    """Number and size of the images, diameter of the FOV to which they are scaled, augmented patches of each."""

    number: int
    height: int
    width: int
    fov_diameter: int
    n_per_patch: int | None = None  # None: that of params.yaml


SETS = {
    "drive": ImageSet(20, 584, 565, 540),
    "hrf": ImageSet(3, 2336, 3504, 540),
    "hrf_native": ImageSet(3, 2336, 3504, 3240, n_per_patch=1),
}


class Cost(NamedTuple):
    """Seconds of a step, peak memory of its process in MB, and MB of patches that it wrote."""

    seconds: float
    memory: float
    written: float


def write_images(root: Path, images: ImageSet) -> None:
    """Write the images, the last one for validation."""
    y, x = np.mgrid[: images.height, : images.width].astype(np.float32)
    radius = min(images.height, images.width * 0.96) / 2
    fov = (y - images.height / 2) ** 2 + (x - images.width / 2) ** 2 <= radius**2
    truth = fov & (np.sin(40 * (x + 0.3 * y) / images.width) > 0.95)
    ids = [f"{number:02d}" for number in range(images.number)]
    for subset, chosen in (("train", ids[:-1]), ("validation", ids[-1:])):
        for id_ in chosen:
            noise = np.random.default_rng(int(id_)).integers(0, 30, (images.height, images.width, 1))
            image = (np.array([150, 90, 50]) + noise - 40 * truth[..., None]).astype(np.uint8)
            image[~fov] = 0
            labelled = samples.LabelledImage(id_, id_, image, truth, fov, None)
            samples.write_labelled_image(root / subset, "drive", labelled)
        samples.write_table(root / subset, [("drive", id_, id_) for id_ in chosen])


def run_patch(root: Path, images: ImageSet) -> None:
    """Run stage patch."""
    params = load_params()
    preprocess = params.preprocess.model_copy(update={"fov_diameter": images.fov_diameter})
    patch.main(root / "train", root / "validation", root / "patches", params.patch, preprocess)


def run_augment(root: Path, images: ImageSet) -> None:
    """Run stage augment."""
    params = load_params()
    n_per_patch = images.n_per_patch or params.augment.n_per_patch
    section = params.augment.model_copy(update={"n_per_patch": n_per_patch})
    augment.main(root / "patches" / "train", root / "augmented", params.patch.size, section)


def measure(step: Callable[[Path, ImageSet], None], root: Path, images: ImageSet, out: Path) -> Cost:
    """Run one step in this process."""
    begin = time.perf_counter()
    step(root, images)
    seconds, memory = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return Cost(seconds, memory, sum(path.stat().st_size for path in out.glob("*.npy")) / 2**20)


def main() -> None:
    """Print a row for each step of each set."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.patch_augment_time", description=__doc__.splitlines()[0]
    )
    parser.add_argument("sets", nargs="*", metavar="SET", help=f"some of {', '.join(SETS)}")
    names = parser.parse_args().sets or list(SETS)
    if unknown := set(names) - set(SETS):
        parser.error(f"expected some of {', '.join(SETS)}, got {', '.join(sorted(unknown))}")
    print("| set | stage | seconds | peak memory, MB | written, MB |\n| --- | --- | --- | --- | --- |")
    for name in names:
        with tempfile.TemporaryDirectory() as place:
            root = Path(place)
            write_images(root, SETS[name])
            for step, out in ((run_patch, root / "patches/train"), (run_augment, root / "augmented")):
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    cost = pool.submit(measure, step, root, SETS[name], out).result()
                stage = step.__name__.removeprefix("run_")
                print(f"| {name} | {stage} | {cost.seconds:.1f} | {cost.memory:.0f} | {cost.written:.0f} |", flush=True)


if __name__ == "__main__":
    main()
