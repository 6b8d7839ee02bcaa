"""Detect a vessel annotation that is displaced against its image, or belongs to another image.

Vessels are darker than their surroundings. An annotation has a *contrast*: by how much its pixels are darker, in local
standard deviations. A correct annotation has its highest contrast where it is, not when it is displaced.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.common import image_geometry
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.data import image_detail

# Lengths are in pixels of an image whose field of view is REFERENCE_FOV_DIAMETER wide.
FINE, COARSE, WIDE = 1.0, 7.0, 14.0  # a vessel is wider than the first; illumination varies over the second and beyond
MAX_OFFSET = 45  # displacements tried, in both directions along both axes
# On DRIVE, CHASE_DB1, RBV and synthetic images of 584x565 a ground truth has a contrast of .95 or more, highest in
# place, and of .41 or less when displaced by 10 pixels. Flipped or rotated by 180 degrees it has .21 or less within
# MAX_OFFSET.
MIN_CONTRAST = 0.3
MIN_CONTRAST_RATIO = 0.5  # to the highest contrast


class Alignment(NamedTuple):
    """Contrast of an annotation, its highest contrast when displaced, and that displacement in pixels of the image."""

    contrast: float
    best: float
    right: float
    down: float

    def is_good(self) -> bool:
        """Return whether the annotation is where it belongs."""
        return self.best >= MIN_CONTRAST and self.contrast >= MIN_CONTRAST_RATIO * self.best


def measure_alignment(image: np.ndarray, annotation: np.ndarray, fov: np.ndarray) -> Alignment | None:
    """Measure how well a vessel annotation fits its image.

    Args:
        image: (H, W, 3) uint8 RGB.
        annotation: vessels, (H, W) bool.
        fov: field of view, (H, W) bool.

    Returns:
        The alignment; None where no vessel is annotated in the field of view.
    """
    side = REFERENCE_FOV_DIAMETER
    green, vessels, weight = image_detail.crop_to_fov(fov, side, image[..., 1], annotation, fov)
    if not vessels.any():
        return None
    scale = side / image_geometry.fov_diameter(fov)
    darkness = -image_detail.band_pass_detail(green, weight, FINE, COARSE, WIDE)
    contrasts = _displaced_sums(darkness, vessels) / vessels.sum()
    row, column = np.unravel_index(contrasts.argmax(), contrasts.shape)
    return Alignment(
        float(contrasts[MAX_OFFSET, MAX_OFFSET]),
        float(contrasts[row, column]),
        (column - MAX_OFFSET) / scale,
        (row - MAX_OFFSET) / scale,
    )


def _displaced_sums(darkness: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """Correlate darkness with the vessels displaced by -MAX_OFFSET to MAX_OFFSET rows and columns."""
    shape = [cv2.getOptimalDFTSize(side + MAX_OFFSET) for side in vessels.shape]
    spectra = (np.fft.rfft2(array, shape) for array in (darkness, vessels))
    sums = np.fft.irfft2(next(spectra) * next(spectra).conj(), shape)
    side = 2 * MAX_OFFSET + 1
    return np.roll(sums, (MAX_OFFSET, MAX_OFFSET), (0, 1))[:side, :side]
