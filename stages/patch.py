"""Normalise the training and validation images and cut them into patches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.common import atomic_io, image_geometry
from src.data import samples
from src.data.samples import Sample
from src.params import Patch, Preprocess
from src.preprocessing import normalization, patches
from src.preprocessing.patch_storage import POSITIONS, LabelledPatch, PatchWriter
from src.stage_runner import run_stage


def main(train: Path, validation: Path, out: Path, patch: Patch, preprocess: Preprocess) -> None:
    """Write out/train, whose patches have context around them, and out/validation."""
    write_subset(train, out / "train", patches.context_side(patch.size, patch.context), patch, preprocess)
    write_subset(validation, out / "validation", patch.size, patch, preprocess)


def write_subset(root: Path, folder: Path, side: int, patch: Patch, preprocess: Preprocess) -> None:
    """Write the patches of all samples below `root`, if any, and the table of their positions, to `folder`."""
    found = samples.find(root, least=0)
    corners = [_corners(sample, patch, preprocess) for sample in found]
    count = sum(map(len, corners))
    if found and not count:
        raise ValueError(f"patch.min_fov: expected a patch of {root} with an FOV fraction of {patch.min_fov}, got none")
    if found:
        cut = _cut(found, corners, patch.size, side, preprocess)
        with PatchWriter(folder, count, side) as writer:
            for index, labelled in enumerate(tqdm(cut, f"patch {folder.name}", count, unit="patch")):
                writer.write(index, *labelled)
    _write_positions(folder / POSITIONS, found, corners)


def _corners(sample: Sample, patch: Patch, preprocess: Preprocess) -> np.ndarray:
    """Return the upper left corners (N, 2) of the sample's patches at network scale."""
    fov = samples.fov(sample)
    if not fov.any():
        raise ValueError(f"{sample.path('fov')}: expected at least one pixel in the field of view, got none")
    fov = normalization.resize_bool(fov, normalization.scaled_shape(fov, preprocess.fov_diameter))
    return patches.positions_in_fov(fov, patch.size, patch.stride, patch.min_fov)


def _cut(
    found: list[Sample], corners: list[np.ndarray], size: int, side: int, preprocess: Preprocess
) -> Iterator[LabelledPatch]:
    """Yield the patches of all samples, of `side` around the patch of `size` at each corner."""
    for sample, positions in zip(found, corners, strict=True):
        arrays = _normalize(sample, preprocess)
        for position in positions:
            cut = (patches.extract_with_context(array, position, size, side) for array in arrays)
            yield LabelledPatch(*cut)


def _normalize(sample: Sample, preprocess: Preprocess) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return image, truth and FOV of the sample at network scale."""
    image, truth, fov = samples.image(sample), samples.truth(sample), samples.fov(sample)
    for kind, labels in (("truth", truth), ("fov", fov)):
        image_geometry.check_like_image(sample.path(kind), labels.shape, image.shape)
    prepared = normalization.prepare(image, fov, preprocess.fov_diameter, preprocess.clahe_clip_limit)
    return prepared.image, normalization.resize_bool(truth, prepared.fov.shape), prepared.fov


def _write_positions(path: Path, found: list[Sample], corners: list[np.ndarray]) -> None:
    """Write a row per patch: its image, and the upper left corner of its size x size centre at network scale."""
    rows = [
        (sample.dataset, sample.id, *position)
        for sample, positions in zip(found, corners, strict=True)
        for position in positions
    ]
    atomic_io.write_rows(path, [("dataset", "id", "row", "column"), *rows])


if __name__ == "__main__":
    run_stage(main, lambda params: {"patch": params.patch, "preprocess": params.preprocess})
