"""Whether a drawing of vessels lies on the vessels of its photograph, beside them, or is of another photograph.

Vessels are darker than what surrounds them. A drawing has a *contrast*: by how much its pixels are darker, in local
standard deviations. Moved about over its photograph, a drawing has its highest contrast where it belongs.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src import likeness

SIDE = 540  # pixels of the field of view that is looked at; the following lengths are in these
FINE, COARSE, WIDE = 1.0, 7.0, 14.0  # a vessel is wider than the first; light changes over the second and beyond
FARTHEST = 45  # that a drawing is moved, either way along both sides
# Over DRIVE, CHASE_DB1, RBV and phantoms of 584x565, the contrast of a truth is .95 or more, highest where it lies; 10
# pixels away .41 or less. Nowhere within FARTHEST has one that is flipped or turned round more than .21.
LEAST_CONTRAST = 0.3
LEAST_SHARE = 0.5  # of the highest contrast


class Fit(NamedTuple):
    """Contrast of a drawing where it lies, the highest one nearby, and how far away that is: photograph's pixels."""

    contrast: float
    best: float
    right: float
    down: float

    def is_good(self) -> bool:
        """Whether the drawing is where it belongs."""
        return self.best >= LEAST_CONTRAST and self.contrast >= LEAST_SHARE * self.best


def fit(image: np.ndarray, drawing: np.ndarray, fov: np.ndarray) -> Fit | None:
    """How an (H, W) bool drawing fits its (H, W, 3) uint8 RGB photograph; None where it is empty in the (H, W) FOV."""
    green, drawn, weight = likeness.framed(fov, SIDE, image[..., 1], drawing, fov)
    if not drawn.any():
        return None
    scale = SIDE / max(cv2.boundingRect(fov.astype(np.uint8))[2:])
    contrasts = _moved(-likeness.detail(green, weight, FINE, COARSE, WIDE), drawn) / drawn.sum()
    row, column = np.unravel_index(contrasts.argmax(), contrasts.shape)
    best = float(contrasts[row, column])
    return Fit(float(contrasts[FARTHEST, FARTHEST]), best, (column - FARTHEST) / scale, (row - FARTHEST) / scale)


def _moved(darkness: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Their sum of products with the drawing moved by -FARTHEST to FARTHEST rows and columns; unmoved in the middle."""
    shape = [cv2.getOptimalDFTSize(side + FARTHEST) for side in drawn.shape]
    spectra = (np.fft.rfft2(picture, shape) for picture in (darkness, drawn))
    sums = np.fft.irfft2(next(spectra) * next(spectra).conj(), shape)
    side = 2 * FARTHEST + 1
    return np.roll(sums, (FARTHEST, FARTHEST), (0, 1))[:side, :side]
