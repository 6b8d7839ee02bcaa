"""Origins of vessels in the optic disc: the arcades, and small vessels that leave the disc directly.

Lengths and points are those of `anatomy`. Ranges without a named source were chosen by visual comparison with training
images of DRIVE and CHASE_DB1.
"""

from typing import NamedTuple

import numpy as np

from src.synthetic.anatomy import Anatomy

VEIN_RADIUS = (3.5, 4.3)  # of an arcade at the disc; observed in training images of DRIVE
ARTERY_TO_VEIN = (0.70, 0.85)  # ratio of calibres, about 2:3 to 4:5 in healthy eyes
ARCADE_HEIGHT = (0.70, 0.95)  # of an arcade above or below the fovea / distance of disc and fovea; observed in DRIVE
ARTERY_VEIN_GAP = (0.04, 0.18)  # half the distance of artery and vein of an arcade / its height
NASAL_ARCADE_HEIGHT = (0.45, 0.9)  # the same on the nasal side, where the parabolas are straighter
NASAL_CALIBRE = (0.50, 0.75)  # ratio of nasal to temporal arcades
DISC_BRANCH_RADIUS = (0.8, 1.25)  # of small vessels that leave the disc directly, towards macula or nose
BRANCH_LENGTH = (45.0, 230.0)  # of a vessel that is no arcade


class Arcade(NamedTuple):
    """Parabola of an arcade in the frame of disc (origin) and fovea (real axis): along = curvature * across^2."""

    curvature: float
    side: int


class GrowingTip(NamedTuple):
    """Start of a vessel that is not yet grown."""

    point: complex
    heading: float
    radius: float
    artery: bool
    arcade: Arcade | None
    max_length: float
    parent: int


def vessel_origins(rng: np.random.Generator, anatomy: Anatomy) -> list[GrowingTip]:
    """Return what leaves the disc: four arcades (artery and vein, temporal and nasal), and a few small vessels."""
    vein = anatomy.magnification * rng.uniform(*VEIN_RADIUS)
    calibres = (vein, vein * rng.uniform(*ARTERY_TO_VEIN))
    distance = abs(anatomy.fovea - anatomy.disc)
    tips = []
    for side, nasal in ((-1, False), (1, False), (-1, True), (1, True)):
        height = rng.uniform(*(NASAL_ARCADE_HEIGHT if nasal else ARCADE_HEIGHT))
        gap = rng.choice((-1, 1)) * rng.uniform(*ARTERY_VEIN_GAP)
        calibre = rng.uniform(*NASAL_CALIBRE) if nasal else 1.0
        for artery, offset in ((False, 1 - gap), (True, 1 + gap)):
            curvature = (-1 if nasal else 1) / (distance * (height * offset) ** 2)
            radius = calibres[artery] * calibre * rng.uniform(0.85, 1.0)
            tips.append(_trunk(rng, anatomy, radius, artery, Arcade(curvature, side)))
    kinds = [(artery, nasal) for artery in (False, True) for nasal in (False, False, True)]
    return tips + [_disc_branch(rng, anatomy, artery, nasal) for artery, nasal in kinds]


def _trunk(rng: np.random.Generator, anatomy: Anatomy, radius: float, artery: bool, arcade: Arcade) -> GrowingTip:
    """Return the start of an arcade's artery or vein in the disc."""
    axis = macular_axis(anatomy)
    along = rng.uniform(-0.2, 0.0) + 0.08 * np.sign(arcade.curvature)
    start = complex(along, arcade.side * rng.uniform(-0.02, 0.10))
    heading = np.angle(axis * 1j * arcade.side) + rng.normal(0, 0.25)
    return GrowingTip(anatomy.disc + anatomy.disc_radius * axis * start, heading, radius, artery, arcade, np.inf, 0)


def _disc_branch(rng: np.random.Generator, anatomy: Anatomy, artery: bool, nasal: bool) -> GrowingTip:
    """Return the start of a small vessel that leaves the disc directly."""
    axis = -macular_axis(anatomy) if nasal else macular_axis(anatomy)
    turn = rng.choice((-1, 1)) * rng.uniform(0.15, 0.9)
    heading = np.angle(axis) + turn
    start = anatomy.disc + rng.uniform(0.1, 0.7) * anatomy.disc_radius * np.exp(1j * heading)
    radius = anatomy.magnification * rng.uniform(*DISC_BRANCH_RADIUS)
    return GrowingTip(start, heading, radius, artery, None, rng.uniform(0.6, 1.0) * BRANCH_LENGTH[1], 0)


def macular_axis(anatomy: Anatomy) -> complex:
    """Return the unit vector from disc to fovea."""
    to_fovea = anatomy.fovea - anatomy.disc
    return to_fovea / abs(to_fovea)
