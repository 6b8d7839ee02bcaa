"""Lesions of a synthetic fundus: exudates, drusen, haemorrhages, microaneurysms and cotton wool spots.

Ranges without a named source were chosen by visual comparison with training images of DRIVE and CHASE_DB1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.anatomy import FOV_RADIUS, Anatomy
from src.synthetic.background import PixelGrid

LESION_FRACTION = 0.45  # of images with lesions; DRIVE has 7 of 40 (Staal et al., 2004), training needs more


class LesionKind(NamedTuple):
    """A kind of lesion: range of their number, lengths in reference pixels, and factor on RGB."""

    number: tuple[int, int]
    radius: tuple[float, float]
    factor: tuple[float, float, float]
    irregularity: float
    spread: float
    blur: float


LESION_KINDS = {
    "exudates": LesionKind((8, 45), (1.0, 4.0), (1.18, 1.55, 1.25), 0.4, 35.0, 0.7),
    "drusen": LesionKind((10, 60), (1.0, 3.5), (1.06, 1.16, 1.05), 0.15, 60.0, 1.0),
    "haemorrhages": LesionKind((1, 9), (3.0, 11.0), (0.84, 0.62, 0.74), 0.5, 150.0, 1.5),
    "microaneurysms": LesionKind((3, 18), (1.0, 2.2), (0.88, 0.72, 0.80), 0.1, 120.0, 0.7),
    "cotton wool": LesionKind((1, 4), (7.0, 15.0), (1.08, 1.25, 1.25), 0.5, 120.0, 3.5),
}


def add_lesions(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid, image: np.ndarray) -> np.ndarray:
    """Add lesions of one to three kinds to some images (H, W, 3); the others are unchanged."""
    if rng.random() > LESION_FRACTION:
        return image
    names = rng.choice(sorted(LESION_KINDS), size=rng.integers(1, 4), replace=False)
    for name in names:
        image = _add_lesions_of_kind(rng, anatomy, grid, image, LESION_KINDS[str(name)])
    return image


def _add_lesions_of_kind(
    rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid, image: np.ndarray, kind: LesionKind
) -> np.ndarray:
    """Add lesions of one kind, clustered around a point near the fovea, outside the optic disc."""
    height, width = grid.points.shape
    lesions = np.zeros((height, width), np.uint8)
    middle = complex((width - 1) / 2, (height - 1) / 2)
    centre = anatomy.fovea + complex(*rng.normal(0, 70, 2)) * anatomy.magnification
    for _ in range(rng.integers(*kind.number)):
        point = centre + complex(*rng.normal(0, kind.spread, 2)) * anatomy.magnification
        radius = anatomy.magnification * np.exp(rng.uniform(*np.log(kind.radius)))
        if abs(point - anatomy.disc) > 1.3 * anatomy.disc_radius + radius and abs(point) < FOV_RADIUS:
            outline = point + middle + _irregular_outline(rng, radius, kind.irregularity)
            corners = np.rint(np.stack([outline.real, outline.imag], axis=1) * 8).astype(np.int32)
            cv2.fillPoly(lesions, [corners], 255, cv2.LINE_AA, 3)
    soft = cv2.GaussianBlur(lesions, (0, 0), kind.blur).astype(np.float32)[..., None] / 255
    strength = rng.uniform(0.5, 1.0)
    return image * np.exp(strength * soft * np.log(np.array(kind.factor, np.float32)))


def _irregular_outline(rng: np.random.Generator, radius: float, irregularity: float) -> np.ndarray:
    """Return the outline (24,) complex of an irregular, somewhat elongated blob around 0."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = [rng.normal(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    radii = 1 + irregularity * np.sum(waves, axis=0)
    outline = radius * np.maximum(radii, 0.3) * (np.cos(angle) * rng.uniform(0.6, 1.0) + 1j * np.sin(angle))
    return outline * np.exp(1j * rng.uniform(0, np.pi))
