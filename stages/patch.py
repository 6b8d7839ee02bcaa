"""Cut the prepared training and validation photographs into patches."""

import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src import files, patches, preprocess, samples
from src.cli import run
from src.params import Patch, Preprocess


def main(train: Path, validation: Path, out: Path, patch: Patch, preparation: Preprocess) -> None:
    """Write out/train, whose patches have context around them, and out/validation."""
    write_subset(train, out / "train", patches.context_side(patch.size, patch.context), patch, preparation)
    write_subset(validation, out / "validation", patch.size, patch, preparation)


def write_subset(root: Path, folder: Path, side: int, patch: Patch, preparation: Preprocess) -> None:
    """Write the patches of all samples below `root`, if any, and positions.csv with the place of each."""
    found = samples.find(root, least=0)
    corners = [_corners(sample, patch, preparation) for sample in found]
    count = sum(map(len, corners))
    if found and not count:
        raise ValueError(f"patch.min_fov: expected a patch of {root} with an FOV share of {patch.min_fov}, got none")
    if found:
        bar = tqdm(desc=f"patch {folder.name}", total=count, unit="patch")
        with patches.PatchWriter(folder, count, side) as writer, bar:
            for sample, places in zip(found, corners, strict=True):
                arrays = _prepare(sample, preparation)
                for place in places:
                    writer.write(bar.n, *(patches.cut_around(array, place, patch.size, side) for array in arrays))
                    bar.update()
    _write_table(folder / patches.POSITIONS, found, corners)


def _corners(sample: samples.Sample, patch: Patch, preparation: Preprocess) -> np.ndarray:
    """The upper left corners (N, 2) of the sample's patches at network scale."""
    fov = samples.fov(sample)
    if not fov.any():
        raise ValueError(f"{sample.path('fov')}: expected at least one pixel in the field of view, got none")
    fov = preprocess.resize_bool(fov, preprocess.scaled_shape(fov, preparation.fov_diameter))
    return patches.inside(fov, patch.size, patch.stride, patch.min_fov)


def _prepare(sample: samples.Sample, preparation: Preprocess) -> patches.Patches:
    """Image, truth and FOV of the sample at network scale."""
    image, truth, fov = samples.image(sample), samples.truth(sample), samples.fov(sample)
    for kind, drawing in (("truth", truth), ("fov", fov)):
        if drawing.shape != image.shape[:2]:
            expected, found = ("{}x{}".format(*shape) for shape in (image.shape, drawing.shape))
            raise ValueError(f"{sample.path(kind)}: expected {expected} like the image, got {found}")
    prepared = preprocess.prepare(image, fov, preparation.fov_diameter, preparation.clahe)
    truth = preprocess.resize_bool(truth, prepared.fov.shape)
    return patches.Patches(prepared.image, truth, prepared.fov)


def _write_table(path: Path, found: list[samples.Sample], corners: list[np.ndarray]) -> None:
    """Write a row a patch: where the upper left corner of its size x size centre lies."""
    rows = [
        (sample.dataset, sample.id, *place) for sample, every in zip(found, corners, strict=True) for place in every
    ]
    files.write_rows(path, [("dataset", "id", "row", "column"), *rows])


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:4]), params.patch, params.preprocess))
