"""Show patches of synthetic images beside real ones: python -m experiments.synthetic_gallery [FOLDER] [--out PNG].

FOLDER is a subset of real images, such as data/raw/train: their patches are in the right half, patches of synthetic
images in the left. Each is cut from a prepared image, the input of the network. Without FOLDER, all are synthetic.
"""

import argparse
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path

import numpy as np

from src.data import samples
from src.params import Params, load_params
from src.preprocessing import normalization, patches
from src.synthetic import generator

SIDE = 180  # pixels of a patch
ROWS, COLUMNS = 5, 5
GAP = 4  # pixels between patches
FIGURE = Path("docs/images/synthetic_gallery.png")


def extract_patch(image: np.ndarray, fov: np.ndarray, number: int, params: Params) -> np.ndarray:
    """Cut a patch (SIDE, SIDE, 3) uint8 from a prepared image; `number` is the seed of its position."""
    preprocess = params.preprocess
    prepared = normalization.prepare(image, fov, preprocess.fov_diameter, preprocess.clahe_clip_limit)
    positions = patches.positions_in_fov(prepared.fov, SIDE, SIDE // 3, min_fov=0.99)
    return patches.extract_patch(prepared.image, np.random.default_rng(number).choice(positions), SIDE)


def synthetic_patches(params: Params) -> Iterator[np.ndarray]:
    """Yield a patch of each synthetic image, without end."""
    section = params.phantom
    for number in count():
        generated = generator.generate(section.seed, number, section.height, section.width)
        yield extract_patch(generated.image, generated.fov, number, params)


def real_patches(folder: Path, params: Params) -> Iterator[np.ndarray]:
    """Yield patches of real images without end, from each image in turn."""
    found = [sample for sample in samples.find(folder) if sample.dataset != "phantom"]
    if not found:
        raise SystemExit(f"error: {folder}: expected real images, got synthetic ones only")
    for number in count():
        sample = found[number % len(found)]
        yield extract_patch(samples.image(sample), samples.fov(sample), number, params)


def tile(shown: list[np.ndarray], columns: int) -> np.ndarray:
    """Arrange patches row by row in one image (H, W, 3) on white."""
    framed = [np.pad(patch, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255) for patch in shown]
    return np.vstack([np.hstack(framed[first : first + columns]) for first in range(0, len(framed), columns)])


def main() -> None:
    """Write the gallery."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.synthetic_gallery", description=__doc__.splitlines()[0]
    )
    parser.add_argument("folder", nargs="?", type=Path, help="a subset of real images, such as data/raw/train")
    parser.add_argument("--out", type=Path, default=FIGURE, help=f"PNG to write (default: {FIGURE})")
    arguments = parser.parse_args()
    params = load_params()
    halves = [tile(list(islice(synthetic_patches(params), ROWS * COLUMNS)), COLUMNS)]
    if arguments.folder:
        real = tile(list(islice(real_patches(arguments.folder, params), ROWS * COLUMNS)), COLUMNS)
        halves.append(np.pad(real, ((0, 0), (4 * GAP, 0), (0, 0)), constant_values=255))
    samples.write_image(arguments.out, np.hstack(halves))


if __name__ == "__main__":
    main()
