"""Normalise a fundus image for the network: scale, contrast and intensity; the same in training and prediction."""

from typing import NamedTuple

import cv2
import numpy as np

from src.common import image_geometry
from src.preprocessing.patches import NEUTRAL

DEVIATION = 36.0  # standard deviation of each channel in the FOV; 3.5 of them fit into the intensity range
SCALE_TOLERANCE = 0.02  # a scale this close to 1 is taken as 1: resampling would only blur
CLAHE_GRID = (8, 8)


class Prepared(NamedTuple):
    """Network input: image (h, w, 3) uint8, standardised in the FOV and NEUTRAL outside; fov (h, w) bool."""

    image: np.ndarray
    fov: np.ndarray


def prepare(image: np.ndarray, fov: np.ndarray, fov_diameter: int, clahe_clip_limit: float) -> Prepared:
    """Scale an image to a FOV diameter, equalise its contrast (CLAHE) and standardise its intensity.

    Args:
        image: RGB, (H, W, 3) uint8.
        fov: field of view, (H, W) bool.
        fov_diameter: pixels of the larger side of the FOV's bounding box in the result.
        clahe_clip_limit: clip limit of contrast-limited adaptive histogram equalisation of lightness; 0 is off.

    Raises:
        ValueError: other shapes or types, or a field of view without a pixel.
    """
    _check_arrays(image, fov)
    shape = scaled_shape(fov, fov_diameter)
    image, fov = _resize(image, shape), resize_bool(fov, shape)
    if clahe_clip_limit > 0:
        image = _equalise(image, clahe_clip_limit)
    return Prepared(standardize(image, fov), fov)


def scaled_shape(fov: np.ndarray, fov_diameter: int) -> tuple[int, int]:
    """Return the shape (h, w) at which the FOV is `fov_diameter` pixels wide; unchanged within SCALE_TOLERANCE."""
    diameter = image_geometry.fov_diameter(fov)
    if not diameter:
        raise ValueError(f"fov: expected at least one pixel, found none in {image_geometry.format_size(fov.shape)}")
    scale = fov_diameter / diameter
    if abs(scale - 1) <= SCALE_TOLERANCE:
        return fov.shape[0], fov.shape[1]
    return max(1, round(fov.shape[0] * scale)), max(1, round(fov.shape[1] * scale))


def resize_bool(binary: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize an (H, W) bool image to (h, w): true where at least half of a pixel is."""
    return binary if binary.shape == tuple(shape) else _resize(binary.astype(np.uint8) * 255, shape) > 127


def to_native(probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize a probability map (h, w) to the native shape (H, W) of its image: float32 in [0, 1]."""
    return np.clip(_resize(probability.astype(np.float32, copy=False), shape), 0.0, 1.0)


def standardize(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Standardise an (h, w, 3) uint8 image to mean NEUTRAL and standard deviation DEVIATION in each channel of the FOV.

    Values are clipped to 0..255. Outside the FOV, and in a channel without contrast, all is NEUTRAL.
    """
    inside = fov.view(np.uint8)
    counts = [cv2.calcHist([image], [channel], inside, [256], [0, 256]) for channel in range(image.shape[2])]
    standard = cv2.LUT(image, np.dstack([_standard_levels(each.ravel()) for each in counts]))
    standard[~fov] = NEUTRAL
    return standard


def _standard_levels(counts: np.ndarray) -> np.ndarray:
    """Return the standardised intensity of each of the 256 levels, (1, 256) uint8, from how often each occurs."""
    counts, intensity = counts.astype(np.float64), np.arange(256.0)
    total = max(counts.sum(), 1)
    mean = (counts * intensity).sum() / total
    deviation = np.sqrt((counts * (intensity - mean) ** 2).sum() / total)
    levels = (intensity - mean) * (DEVIATION / deviation if deviation > 0 else 0.0) + NEUTRAL
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None]


def _equalise(image: np.ndarray, clip_limit: float) -> np.ndarray:
    """Equalise the lightness (L of CIE L*a*b*) of an RGB image in tiles; the hue is kept."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip_limit, CLAHE_GRID).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _resize(array: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Resize to another shape: averaged over areas where it shrinks, cubic where it grows."""
    if array.shape[:2] == tuple(shape):
        return array
    shrinks = shape[0] * shape[1] < array.shape[0] * array.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(array, (shape[1], shape[0]), interpolation=method)


def _check_arrays(image: np.ndarray, fov: np.ndarray) -> None:
    """Raise ValueError for anything but an (H, W, 3) uint8 image and an (H, W) bool FOV."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if fov.dtype != np.bool_:
        raise ValueError(f"fov: expected bool, got {fov.dtype}")
    image_geometry.check_like_image("fov", fov.shape, image.shape)
