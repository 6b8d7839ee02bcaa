"""Cut the prepared training and validation photographs into patches."""

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src import files, patches, preprocess, samples
from src.cli import run
from src.params import Patch, Preprocess


class Plan(NamedTuple):
    """What to cut for one subset: patches of `side` around corners (N, 2) in each of the samples."""

    side: int
    found: list[samples.Sample]
    corners: list[np.ndarray]

    def count(self) -> int:
        """The number of patches."""
        return sum(map(len, self.corners))


def main(train: Path, validation: Path, out: Path, patch: Patch, preparation: Preprocess) -> None:
    """Write out/train, whose patches have context around them, and out/validation."""
    plans = {
        "train": planned(train, patches.context_side(patch.size, patch.context), patch, preparation),
        "validation": planned(validation, patch.size, patch, preparation),
    }
    files.refuse_lack_of_space(out, sum(patches.disk_bytes(plan.count(), plan.side) for plan in plans.values()))
    for subset, plan in plans.items():
        write_subset(plan, out / subset, patch.size, preparation)


def planned(root: Path, side: int, patch: Patch, preparation: Preprocess) -> Plan:
    """Where to cut all samples below `root`, if any."""
    found = samples.find(root, least=0)
    plan = Plan(side, found, [_corners(sample, patch, preparation) for sample in found])
    if found and not plan.count():
        raise ValueError(f"patch.min_fov: expected a patch of {root} with an FOV share of {patch.min_fov}, got none")
    return plan


def write_subset(plan: Plan, folder: Path, size: int, preparation: Preprocess) -> None:
    """Write the patches, if any, and positions.csv with the place of each."""
    _write_table(folder / patches.POSITIONS, plan.found, plan.corners)
    if not plan.found:
        return
    bar = tqdm(desc=f"patch {folder.name}", total=plan.count(), unit="patch")
    with patches.PatchWriter(folder, plan.count(), plan.side) as writer, bar:
        for sample, places in zip(plan.found, plan.corners, strict=True):
            arrays = _prepare(sample, preparation)
            for place in places:
                writer.write(bar.n, *(patches.cut_around(array, place, size, plan.side) for array in arrays))
                bar.update()


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
