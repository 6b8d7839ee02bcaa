"""From a fundus photograph to the network's input; the same in training, evaluation and prediction."""

from typing import NamedTuple

import cv2
import numpy as np

from src.patches import NEUTRAL

SPREAD = 36.0  # standard deviation of each channel inside the FOV: 3.5 of them fit into the grey range
NEAR_ONE = 0.02  # a scale this close to 1 is taken as 1: resampling would only blur
CLAHE_GRID = (8, 8)


class Prepared(NamedTuple):
    """Network input: image (h, w, 3) uint8, standardised in the FOV and NEUTRAL outside; fov (h, w) bool."""

    image: np.ndarray
    fov: np.ndarray


def prepare(image: np.ndarray, fov: np.ndarray, fov_diameter: int, clahe: float) -> Prepared:
    """Scale, equalise and standardise an (H, W, 3) uint8 RGB photograph with its (H, W) bool FOV.

    Args:
        image: the photograph.
        fov: its field of view.
        fov_diameter: pixels that the larger side of the FOV's bounding box shall have.
        clahe: clip limit of contrast-limited adaptive equalisation of lightness; 0 is off.

    Raises:
        ValueError: other shapes or types, or an FOV without a pixel.
    """
    _check(image, fov)
    shape = scaled_shape(fov, fov_diameter)
    image, fov = _resize(image, shape), resize_bool(fov, shape)
    if clahe > 0:
        image = _equalise(image, clahe)
    return Prepared(standardise(image, fov), fov)


def scaled_shape(fov: np.ndarray, fov_diameter: int) -> tuple[int, int]:
    """The shape (h, w) at which the FOV is `fov_diameter` pixels wide; the given one if within NEAR_ONE.

    The larger side of the bounding box counts, since many cameras cut the circle at top and bottom.
    """
    rows, columns = np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    if not rows.size:
        raise ValueError(f"fov: expected at least one pixel, found none in {_size(fov.shape)}")
    scale = fov_diameter / (max(np.ptp(rows), np.ptp(columns)) + 1)
    if abs(scale - 1) <= NEAR_ONE:
        return fov.shape
    return max(1, round(fov.shape[0] * scale)), max(1, round(fov.shape[1] * scale))


def resize_bool(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A two-valued (H, W) picture at another shape (h, w): true where at least half of a pixel is."""
    return picture if picture.shape == tuple(shape) else _resize(picture.astype(np.uint8) * 255, shape) > 127


def to_native(probability: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A probability map (h, w) float32 at the photograph's own shape (H, W), in [0, 1]."""
    return np.clip(_resize(probability.astype(np.float32, copy=False), shape), 0.0, 1.0)


def standardise(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """The (h, w, 3) uint8 image with mean NEUTRAL and deviation SPREAD in each channel of the FOV.

    Values are clipped to 0..255. Outside the FOV, and in a channel without contrast, all is NEUTRAL.
    """
    standard = np.full_like(image, NEUTRAL)
    for channel in range(image.shape[2]):
        standard[fov, channel] = _standard_levels(image[fov, channel])
    return standard


def _standard_levels(levels: np.ndarray) -> np.ndarray:
    """The (N,) uint8 grey levels with mean NEUTRAL and deviation SPREAD, by a table of the 256 levels."""
    counts, grey = np.bincount(levels, minlength=256), np.arange(256.0)
    mean = (counts * grey).sum() / max(levels.size, 1)
    deviation = np.sqrt((counts * (grey - mean) ** 2).sum() / max(levels.size, 1))
    table = (grey - mean) * (SPREAD / deviation if deviation > 0 else 0.0) + NEUTRAL
    return np.clip(np.rint(table), 0, 255).astype(np.uint8)[levels]


def _equalise(image: np.ndarray, clip: float) -> np.ndarray:
    """The RGB image with its lightness (L of CIE L*a*b*) equalised in tiles, hue kept."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clip, CLAHE_GRID).apply(np.ascontiguousarray(lab[..., 0]))
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def _resize(picture: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The picture at another shape: averaged over areas when it shrinks, cubic when it grows."""
    if picture.shape[:2] == tuple(shape):
        return picture
    shrinks = shape[0] * shape[1] < picture.shape[0] * picture.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, (shape[1], shape[0]), interpolation=method)


def _check(image: np.ndarray, fov: np.ndarray) -> None:
    """Refuse anything but an (H, W, 3) uint8 image and an (H, W) bool FOV."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
    if fov.dtype != np.bool_ or fov.shape != image.shape[:2]:
        expected = _size(image.shape)
        raise ValueError(f"fov: expected {expected} bool like the image, got {_size(fov.shape)} {fov.dtype}")


def _size(shape: tuple[int, ...]) -> str:
    """Width x height, as people say it."""
    return f"{shape[1]}x{shape[0]}" if len(shape) > 1 else str(shape)
