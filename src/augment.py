"""One random change applied to image, truth and FOV together: draw the random numbers, then apply them.

A training patch is cut with context around it, so that a turned, zoomed or bent patch brings no border in.
"""

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np
from tqdm import tqdm

from src.patches import NEUTRAL, Patches, PatchWriter, cut, read

BEND_STEP = 32  # a side of so many pixels more has one independent point of the elastic field more
BEND_REACH = 3.0  # largest displacement, in standard deviations
TAPS = 2  # pixels beyond a position that cubic interpolation reads
QUARTER = math.pi / 2  # radians
LEAST_BLUR = 0.25  # pixels; a Gaussian below it changes nothing
NORMAL = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])  # of a random byte


class Limits(NamedTuple):
    """How far a change may go: the fields of section `augment` of params.yaml, which explains them."""

    rotation: float
    flip: bool
    scale: float
    elastic: float
    exact: float
    brightness: float
    contrast: float
    gamma: float
    colour: float
    noise: float
    blur: float


class Plan(NamedTuple):
    """What to make of each patch: `copies` variants of side `size` within the limits."""

    limits: Limits
    size: int
    copies: int
    seed: int


class Change(NamedTuple):
    """The random numbers of one change; the defaults change nothing."""

    angle: float = 0.0  # radians
    flip: bool = False  # left and right exchanged; with rotation this makes up-down as well
    zoom: float = 1.0  # source pixels a patch pixel
    bend: np.ndarray | None = None  # displacements (g, g, 2) float32 in pixels, at points spread evenly
    bend_reach: float = 0.0  # pixels that no displacement exceeds
    brightness: float = 0.0  # added, as a share of the grey range
    contrast: float = 1.0  # factor of the distance from NEUTRAL
    gamma: float = 1.0  # exponent
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # contrast of red, green, blue
    noise: float = 0.0  # standard deviation, as a share of the grey range
    noise_seed: int = 0
    blur: float = 0.0  # standard deviation, pixels


def draw(rng: np.random.Generator, limits: Limits, size: int) -> Change:
    """The random numbers of one change of a patch of side `size` within the limits.

    A share `limits.exact` of them interpolates nothing: the angle is the nearest quarter turn within the limit, and
    nothing is zoomed or bent, so that the smallest vessels and their labels stay whole. Grey levels change as ever.
    """
    nodes = size // BEND_STEP + 2
    angle, zoom, brightness, contrast, gamma = rng.uniform(-1, 1, 5)
    gains = 1 + limits.colour * rng.uniform(-1, 1, 3)
    noise, blur, flip = rng.uniform(0, 1, 3)
    bend = rng.standard_normal((nodes, nodes, 2), dtype=np.float32) * np.float32(limits.elastic)
    noise_seed, exact = int(rng.integers(2**32)), rng.uniform() < limits.exact
    angle, most = math.radians(limits.rotation) * angle, limits.rotation // 90
    return Change(
        angle=QUARTER * max(-most, min(round(angle / QUARTER), most)) if exact else angle,
        flip=limits.flip and flip < 0.5,
        zoom=1.0 if exact else (1 + limits.scale) ** zoom,
        bend=bend if limits.elastic > 0 and not exact else None,
        bend_reach=BEND_REACH * limits.elastic,
        brightness=limits.brightness * brightness,
        contrast=1 + limits.contrast * contrast,
        gamma=(1 + limits.gamma) ** gamma,
        gains=tuple(gains.tolist()),
        noise=limits.noise * noise,
        noise_seed=noise_seed,
        blur=limits.blur * blur,
    )


def apply(change: Change, patch: Patches, size: int) -> Patches:
    """The changed patch of side `size` around the centre of a patch with context of side C >= size.

    Args:
        change: the random numbers.
        patch: image (C, C, 3) uint8, truth and fov (C, C) bool: one patch, moved together.
        size: side of the result.

    Returns:
        Image (size, size, 3) uint8, truth and fov (size, size) bool. Outside the FOV the image is NEUTRAL.
    """
    moved = _move(change, patch, size)
    image = _recolour(change, moved.images)
    image[~moved.fov] = NEUTRAL
    return moved._replace(images=image)


def needed_side(size: int, limits: Limits) -> int:
    """The least even side of a patch with context from which no change within the limits brings a border in.

    >>> still = Limits(0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    >>> needed_side(256, still), needed_side(256, still._replace(rotation=180, scale=0.15))
    (256, 420)
    """
    angle = math.radians(min(limits.rotation, 45.0))
    turned = (math.cos(angle) + math.sin(angle)) * (1 + limits.scale)
    if turned == 1 and limits.elastic == 0:
        return size
    reach = (size - 1) / 2 * turned + BEND_REACH * limits.elastic + TAPS
    return 2 * math.ceil(reach + 0.5)


def check_context(side: int, size: int, limits: Limits) -> None:
    """Refuse patches whose context is too small for the limits, and say which context would do."""
    needed = needed_side(size, limits)
    if side < needed:
        context = math.ceil(100 * needed / size) / 100
        raise ValueError(
            f"patch.context: expected at least {context} ({needed} pixels around a patch of {size}) for "
            f"augment.rotation {limits.rotation}, augment.scale {limits.scale} and augment.elastic "
            f"{limits.elastic}, got patches of {side} pixels; raise patch.context or lower one of these"
        )


def augment_patch(patch: Patches, index: int, copy: int, plan: Plan) -> Patches:
    """Variant number `copy` of one patch with context, which is number `index`; variant 0 is its unchanged centre.

    It depends on nothing but the arguments, so that variants may be made in any order and on any thread.
    """
    if copy == 0:
        corner = ((len(patch.fov) - plan.size) // 2,) * 2
        return Patches(*(cut(array, corner, plan.size) for array in patch))
    change = draw(np.random.default_rng([plan.seed, index, copy]), plan.limits, plan.size)
    return apply(change, patch, plan.size)


def augment_all(source: Path, folder: Path, plan: Plan, workers: int) -> None:
    """Write each patch of `source`, followed by its `plan.copies` variants, to `folder`; patches.read reads them.

    The bytes do not depend on the number of workers (threads: OpenCV and NumPy let others run meanwhile).

    Raises:
        ValueError: the context of the patches is too small for the limits.
        OSError: the disk has not the space.
    """
    (count, side, _), variants = read(source).fov.shape, 1 + plan.copies
    if plan.copies:
        check_context(side, plan.size, plan.limits)
    with PatchWriter(folder, count * variants, plan.size) as writer, _one_thread_a_call():

        def work(index: int) -> None:
            patch = Patches(*(array[index].copy() for array in read(source)))  # mapped anew: frees what was read
            for copy in range(variants):
                writer.write(index * variants + copy, *augment_patch(patch, index, copy, plan))

        with ThreadPoolExecutor(workers) as executor:
            for _ in tqdm(executor.map(work, range(count)), "augment", count, unit="patch"):
                pass


def _move(change: Change, patch: Patches, size: int) -> Patches:
    """The patch turned, mirrored, zoomed and bent, each pixel read once from where it comes from."""
    where = _positions(change, size, (len(patch.fov) - 1) / 2)
    fixed = cv2.convertMaps(*where, cv2.CV_16SC2)  # positions to 1/32 pixel, as remap uses them
    drawings = cv2.merge([patch.truth.view(np.uint8) * 255, patch.fov.view(np.uint8) * 255])
    image = cv2.remap(patch.images, *fixed, cv2.INTER_CUBIC, borderValue=(NEUTRAL,) * 3)
    truth, fov = cv2.split(cv2.remap(drawings, *fixed, cv2.INTER_LINEAR, borderValue=(0, 0)))
    return Patches(image, truth > 127, fov > 127)


def _positions(change: Change, size: int, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """Column and row, (size, size) float32 each, where each pixel comes from in a patch with this centre."""
    offset = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    cosine, sine = (np.float32(change.zoom * turn(change.angle)) for turn in (math.cos, math.sin))
    across = -offset if change.flip else offset
    columns = np.subtract.outer(np.float32(centre) - sine * offset, -cosine * across)
    rows = np.add.outer(np.float32(centre) + cosine * offset, sine * across)
    if change.bend is not None:
        smooth = cv2.resize(change.bend, (size, size), interpolation=cv2.INTER_CUBIC)
        across, down = cv2.split(np.clip(smooth, -change.bend_reach, change.bend_reach, out=smooth))
        return columns + across, rows + down
    return columns, rows


def _recolour(change: Change, image: np.ndarray) -> np.ndarray:
    """The (s, s, 3) uint8 image blurred, with other grey levels, and with noise: lens first, sensor last."""
    if change.blur > LEAST_BLUR:
        image = cv2.GaussianBlur(image, (0, 0), change.blur)
    image = cv2.LUT(image, _levels(change))
    if change.noise > 0:
        levels = np.rint(255 * change.noise * NORMAL).astype(np.int16)
        rolls = np.frombuffer(np.random.default_rng(change.noise_seed).bytes(image.size), np.uint8)
        image = cv2.add(image, cv2.LUT(rolls.reshape(image.shape), levels), dtype=cv2.CV_8U)
    return image


def _levels(change: Change) -> np.ndarray:
    """The new value of each grey level, (1, 256, 3) uint8; only brightness moves NEUTRAL."""
    grey = np.arange(256)[:, None] / 255
    neutral = NEUTRAL / 255
    curved = grey**change.gamma - neutral**change.gamma
    levels = neutral + change.brightness + change.contrast * np.array(change.gains) * curved
    return np.clip(np.rint(255 * levels), 0, 255).astype(np.uint8)[None]


@contextmanager
def _one_thread_a_call() -> Iterator[None]:
    """Keep OpenCV from using several threads inside a call, where the calls run side by side."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
