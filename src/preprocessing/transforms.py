"""Random transforms of a patch: image, truth and FOV move together, and the intensity of the image changes.

The random numbers are drawn first and applied afterwards. A patch has context around it, so that a rotated, scaled or
elastically deformed patch contains no border.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import cv2
import numpy as np

from src.preprocessing.patch_storage import LabelledPatch
from src.preprocessing.patches import NEUTRAL

ELASTIC_GRID_STEP = 32  # pixels between the independent points of the elastic field
MAX_ELASTIC_SIGMAS = 3.0  # largest displacement, in standard deviations
INTERPOLATION_MARGIN = 2  # pixels beyond a position that cubic interpolation reads
RIGHT_ANGLE = math.pi / 2  # radians
MIN_BLUR = 0.25  # pixels; a Gaussian below it changes nothing
NORMAL_QUANTILES = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])  # of a random byte


class TransformLimits(NamedTuple):
    """Limits of the random transforms: the fields of section `augment` of params.yaml, which explains them."""

    rotation: float
    flip: bool
    scale: float
    elastic_sigma: float
    rot90_only_fraction: float
    brightness: float
    contrast: float
    gamma: float
    colour: float
    noise_std: float
    blur_sigma: float


class Transform(NamedTuple):
    """Random numbers of one transform; the defaults change nothing."""

    angle: float = 0.0  # radians
    flip: bool = False  # left and right; together with rotation this includes up-down
    scale: float = 1.0  # source pixels per patch pixel
    displacement: np.ndarray | None = None  # elastic field (g, g, 2) float32 in pixels, at points spread evenly
    max_displacement: float = 0.0  # pixels to which the interpolated field is clipped
    brightness: float = 0.0  # added, as a fraction of the intensity range
    contrast: float = 1.0  # factor of the distance from NEUTRAL
    gamma: float = 1.0  # exponent
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)  # contrast of red, green, blue
    noise: float = 0.0  # standard deviation, as a fraction of the intensity range
    noise_seed: int = 0
    blur: float = 0.0  # standard deviation, pixels


def draw_transform(rng: np.random.Generator, limits: TransformLimits, size: int) -> Transform:
    """Draw the random numbers of one transform of a patch of side `size` within the limits.

    A fraction `limits.rot90_only_fraction` of the transforms interpolates nothing: the angle is the nearest multiple of
    90 degrees within the limit, and nothing is scaled or deformed, so that the thinnest vessels and their labels stay
    whole. Intensity changes as in the others.
    """
    nodes = size // ELASTIC_GRID_STEP + 2
    angle, scale, brightness, contrast, gamma = rng.uniform(-1, 1, 5)
    red, green, blue = (1 + limits.colour * rng.uniform(-1, 1, 3)).tolist()
    noise, blur, flip = rng.uniform(0, 1, 3)
    field = rng.standard_normal((nodes, nodes, 2), dtype=np.float32) * np.float32(limits.elastic_sigma)
    noise_seed, rot90_only = int(rng.integers(2**32)), rng.uniform() < limits.rot90_only_fraction
    angle, most = math.radians(limits.rotation) * angle, limits.rotation // 90
    return Transform(
        angle=RIGHT_ANGLE * max(-most, min(round(angle / RIGHT_ANGLE), most)) if rot90_only else angle,
        flip=limits.flip and flip < 0.5,
        scale=1.0 if rot90_only else (1 + limits.scale) ** scale,
        displacement=field if limits.elastic_sigma > 0 and not rot90_only else None,
        max_displacement=MAX_ELASTIC_SIGMAS * limits.elastic_sigma,
        brightness=limits.brightness * brightness,
        contrast=1 + limits.contrast * contrast,
        gamma=(1 + limits.gamma) ** gamma,
        gains=(red, green, blue),
        noise=limits.noise_std * noise,
        noise_seed=noise_seed,
        blur=limits.blur_sigma * blur,
    )


def apply_transform(transform: Transform, patch: LabelledPatch, size: int) -> LabelledPatch:
    """Apply a transform to a patch and cut its centre; outside the FOV the image is NEUTRAL.

    Args:
        transform: the random numbers.
        patch: image (C, C, 3) uint8, truth and fov (C, C) bool, with context: C >= size.
        size: side of the result.

    Returns:
        Image (size, size, 3) uint8, truth and fov (size, size) bool.
    """
    warped = _warp(transform, patch, size)
    image = _change_intensity(transform, warped.image)
    image[~warped.fov] = NEUTRAL
    return warped._replace(image=image)


def needed_side(size: int, limits: TransformLimits) -> int:
    """Return the least even side of a patch with context of which no transform within the limits shows the border.

    >>> none = TransformLimits(0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    >>> needed_side(256, none), needed_side(256, none._replace(rotation=180, scale=0.15))
    (256, 420)
    """
    angle = math.radians(min(limits.rotation, 45.0))
    enlargement = (math.cos(angle) + math.sin(angle)) * (1 + limits.scale)
    if enlargement == 1 and limits.elastic_sigma == 0:
        return size
    reach = (size - 1) / 2 * enlargement + MAX_ELASTIC_SIGMAS * limits.elastic_sigma + INTERPOLATION_MARGIN
    return 2 * math.ceil(reach + 0.5)


def source_positions(transform: Transform, size: int, centre: float) -> tuple[np.ndarray, np.ndarray]:
    """Return columns and rows, (size, size) float32 each, in a patch with this centre, from which pixels are read."""
    offset = np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)
    cosine, sine = (np.float32(transform.scale * function(transform.angle)) for function in (math.cos, math.sin))
    across = -offset if transform.flip else offset
    columns = np.subtract.outer(np.float32(centre) - sine * offset, -cosine * across)
    rows = np.add.outer(np.float32(centre) + cosine * offset, sine * across)
    if transform.displacement is None:
        return columns, rows
    field: np.ndarray = cv2.resize(transform.displacement, (size, size), interpolation=cv2.INTER_CUBIC)
    right, down = cv2.split(np.clip(field, -transform.max_displacement, transform.max_displacement, out=field))
    return columns + right, rows + down


def intensity_table(transform: Transform) -> np.ndarray:
    """Return the new value of each intensity, (1, 256, 3) uint8; only brightness changes NEUTRAL."""
    intensity = np.arange(256)[:, None] / 255
    neutral = NEUTRAL / 255
    curved = intensity**transform.gamma - neutral**transform.gamma
    levels = neutral + transform.brightness + transform.contrast * np.array(transform.gains) * curved
    return np.clip(np.rint(255 * levels), 0, 255).astype(np.uint8)[None]


def _warp(transform: Transform, patch: LabelledPatch, size: int) -> LabelledPatch:
    """Rotate, flip, scale and deform a patch in one interpolation."""
    positions = source_positions(transform, size, (len(patch.fov) - 1) / 2)
    fixed = cv2.convertMaps(*positions, cv2.CV_16SC2)  # positions to 1/32 pixel, as remap uses them
    labels = cv2.merge([patch.truth.view(np.uint8) * 255, patch.fov.view(np.uint8) * 255])
    image = cv2.remap(patch.image, *fixed, cv2.INTER_CUBIC, borderValue=(NEUTRAL,) * 3)
    truth, fov = cv2.split(cv2.remap(labels, *fixed, cv2.INTER_LINEAR, borderValue=(0, 0)))
    return LabelledPatch(image, truth > 127, fov > 127)


def _change_intensity(transform: Transform, image: np.ndarray) -> np.ndarray:
    """Blur the (s, s, 3) uint8 image, change its intensity, and add noise: lens first, sensor last."""
    if transform.blur > MIN_BLUR:
        image = cv2.GaussianBlur(image, (0, 0), transform.blur)
    image = cv2.LUT(image, intensity_table(transform))
    if transform.noise > 0:
        levels = np.rint(255 * transform.noise * NORMAL_QUANTILES).astype(np.int16)
        random_bytes = np.frombuffer(np.random.default_rng(transform.noise_seed).bytes(image.size), np.uint8)
        image = cv2.add(image, cv2.LUT(random_bytes.reshape(image.shape), levels), dtype=cv2.CV_8U)
    return image
