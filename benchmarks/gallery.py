"""Draw phantoms beside real eyes: python -m benchmarks.gallery FOLDER OUT.png.

FOLDER is data/raw/train, say: patches of its real photographs are in the right half, patches of phantoms in the left
one. Each is cut from a prepared photograph, as the network sees it. Without FOLDER, phantoms alone are drawn.
"""

import argparse
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np

from src import patches, phantom, preprocess, samples
from src.params import Params, load_params

SIDE = 180  # pixels of a patch
ROWS, COLUMNS = 5, 5
GAP = 4  # pixels between patches


def cut(image: np.ndarray, fov: np.ndarray, number: int, params: Params) -> np.ndarray:
    """A patch (SIDE, SIDE, 3) uint8 of a photograph, prepared; which one, `number` says."""
    prepared = preprocess.prepare(image, fov, params.preprocess.fov_diameter, params.preprocess.clahe)
    corners = patches.inside(prepared.fov, SIDE, SIDE // 3, min_fov=0.99)
    return patches.cut(prepared.image, np.random.default_rng(number).choice(corners), SIDE)


def drawn(params: Params) -> Iterator[np.ndarray]:
    """Patches of phantoms without end."""
    number = 0
    while True:
        eye = phantom.draw(params.phantom.seed, number, params.phantom.height, params.phantom.width)
        yield cut(eye.image, eye.fov, number, params)
        number += 1


def real(folder: Path, params: Params) -> Iterator[np.ndarray]:
    """Patches of real photographs without end, from each in turn."""
    found = [sample for sample in samples.find(folder) if sample.dataset != "phantom"]
    if not found:
        raise SystemExit(f"{folder}: expected real photographs, found phantoms alone")
    number = 0
    while True:
        sample = found[number % len(found)]
        yield cut(samples.image(sample), samples.fov(sample), number, params)
        number += 1


def tiled(tiles: list[np.ndarray], columns: int) -> np.ndarray:
    """One picture (H, W, 3) of all tiles, row by row, on white."""
    framed = [np.pad(tile, ((GAP, 0), (GAP, 0), (0, 0)), constant_values=255) for tile in tiles]
    return np.vstack([np.hstack(framed[first : first + columns]) for first in range(0, len(framed), columns)])


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gallery", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="a subset of real photographs, such as data/raw/train")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    params = load_params()
    pictures = [tiled(list(islice(drawn(params), ROWS * COLUMNS)), COLUMNS)]
    if given.folder:
        pictures.append(tiled(list(islice(real(given.folder, params), ROWS * COLUMNS)), COLUMNS))
        pictures[1] = np.pad(pictures[1], ((0, 0), (4 * GAP, 0), (0, 0)), constant_values=255)
    samples.write_image(given.out, np.hstack(pictures))


if __name__ == "__main__":
    main()
