"""Augment training patches: write each patch and random transforms of it."""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from src.preprocessing import patch_storage
from src.preprocessing.patch_storage import LabelledPatch, PatchWriter
from src.preprocessing.patches import extract_centre
from src.preprocessing.transforms import TransformLimits, apply_transform, draw_transform, needed_side


class AugmentationPlan(NamedTuple):
    """Which augmented patches to make: `n_per_patch` of each patch, of side `size`, within the limits."""

    limits: TransformLimits
    size: int
    n_per_patch: int
    seed: int


def check_context(side: int, size: int, limits: TransformLimits) -> None:
    """Raise ValueError for patches whose context is too small for the limits; it names the context that is needed."""
    needed = needed_side(size, limits)
    if side < needed:
        context = math.ceil(100 * needed / size) / 100
        raise ValueError(
            f"patch.context: expected at least {context} ({needed} pixels around a patch of {size}) for "
            f"augment.rotation {limits.rotation}, augment.scale {limits.scale} and augment.elastic_sigma "
            f"{limits.elastic_sigma}, got patches of {side} pixels; raise patch.context or lower one of these"
        )


def augment_patch(patch: LabelledPatch, index: int, version: int, plan: AugmentationPlan) -> LabelledPatch:
    """Return version number `version` of patch number `index`, which has context; version 0 is its unchanged centre.

    It depends on the arguments alone, so that versions may be made in any order and on any thread.
    """
    if version == 0:
        return LabelledPatch(*(extract_centre(array, plan.size) for array in patch))
    transform = draw_transform(np.random.default_rng([plan.seed, index, version]), plan.limits, plan.size)
    return apply_transform(transform, patch, plan.size)


def augment_all(source: Path, folder: Path, plan: AugmentationPlan, workers: int) -> None:
    """Write each patch of `source`, followed by `plan.n_per_patch` transforms of it, to `folder`; see `patch_storage`.

    The bytes do not depend on the number of workers (threads: OpenCV and NumPy release the interpreter lock).

    Raises:
        ValueError: the context of the patches is too small for the limits.
        OSError: the disk has too little space.
    """
    (count, side, _), versions = patch_storage.read(source).fov.shape, 1 + plan.n_per_patch
    if plan.n_per_patch:
        check_context(side, plan.size, plan.limits)
    with PatchWriter(folder, count * versions, plan.size) as writer, _single_threaded_opencv():

        def write_versions(index: int) -> None:
            patch = patch_storage.read(source).copy_patch(index)  # mapped anew, which frees the pages of earlier ones
            for version in range(versions):
                writer.write(index * versions + version, *augment_patch(patch, index, version, plan))

        with ThreadPoolExecutor(workers) as executor:
            for _ in tqdm(executor.map(write_versions, range(count)), "augment", count, unit="patch"):
                pass


@contextmanager
def _single_threaded_opencv() -> Iterator[None]:
    """Keep OpenCV from using several threads inside a call, since the calls run in parallel."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
