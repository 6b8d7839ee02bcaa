"""Anatomy shared by all parts of a synthetic fundus: scale, landmarks and vessels.

Lengths are *reference pixels*: pixels of an image whose field of view is `REFERENCE_FOV_DIAMETER` wide, as in DRIVE (45
degrees). Points are complex numbers, x + iy, with the origin at the centre of the field of view.
"""

from typing import NamedTuple

import numpy as np

from src.common.reference_scale import REFERENCE_FOV_DIAMETER

FOV_RADIUS = REFERENCE_FOV_DIAMETER / 2
MIN_RADIUS = 0.55  # thinnest vessel that DRIVE's first observer annotates: about one pixel
AVASCULAR_RADIUS = (0.10, 0.16)  # of the foveal avascular zone / distance of disc and fovea
STEP = 3.0  # length of a segment
DARKNESS = (0.85, 1.15)  # relative to other vessels of the same width
FADING_POINTS = 4  # over which a free end fades


class Anatomy(NamedTuple):
    """Positions of the landmarks; `magnification` is 1 at 45 degrees, more for a narrower field of view."""

    disc: complex
    fovea: complex
    disc_radius: float
    magnification: float


class Vessel(NamedTuple):
    """A vessel without its side branches: points (N,) complex, radius (N,), darkness (N,) relative to its width."""

    points: np.ndarray
    radius: np.ndarray
    darkness: np.ndarray
    artery: bool


def covered_area(vessel: Vessel) -> float:
    """Return the area of a vessel inside the FOV, in square reference pixels."""
    length = np.abs(np.diff(vessel.points))
    return float(2 * (length * vessel.radius[1:])[np.abs(vessel.points[1:]) < FOV_RADIUS].sum())


def vessel_darkness(rng: np.random.Generator, count: int, branched: int) -> np.ndarray:
    """Return the darkness (count,) along a vessel, whose end fades beyond its last branching at point `branched`."""
    index = np.arange(count)
    fading = np.where(index < branched, 1.0, np.clip((count - index) / FADING_POINTS, 0, 1))
    return rng.uniform(*DARKNESS) * fading
