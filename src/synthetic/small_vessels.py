"""Grow small vessels: each leaves an existing vessel and grows into the largest gap of the tree.

Lengths and points are those of `anatomy`. Constants without a named source were fitted, or chosen by visual
comparison, to the annotations of DRIVE's first observer in the training images.
"""

from typing import NamedTuple

import numpy as np

from src.synthetic.anatomy import (
    AVASCULAR_RADIUS,
    FOV_RADIUS,
    MIN_RADIUS,
    STEP,
    Anatomy,
    Vessel,
    covered_area,
    vessel_darkness,
)

MAX_TRIES = 400
CANDIDATES = 16  # points, of which the one farthest from all vessels is the next goal
BEYOND_FOV = 4.0  # goals are at most this far outside the FOV
DETOUR = 0.6  # weight of the distance to the disc in the choice of the branching point; 0: the nearest point
RADIUS_TO_GAP = (0.42, 0.012)  # radius of a vessel for no gap, and more for each reference pixel of the gap
RADIUS_SPREAD = (0.85, 1.25)  # random factor on that
MAX_RADIUS_TO_PARENT = 0.85  # radius of a vessel / that of its parent
END_TO_START_RADIUS = 0.8  # ratio of radii along a vessel
MIN_POINTS = 3
BOW = 0.10  # height of a vessel's arc / its length, standard deviation
KINKS = ((8.0, 0.11), (22.0, 0.13))  # (length between kinks, offset there / that length) of the thinnest vessel


class VesselPoints(NamedTuple):
    """All points (N,) complex64 of some vessels, with the radius, and whether the vessel is an artery."""

    points: np.ndarray
    radius: np.ndarray
    artery: np.ndarray


def grow_small_vessels(
    rng: np.random.Generator, anatomy: Anatomy, large_vessels: list[Vessel], area: float
) -> list[Vessel]:
    """Grow small vessels that cover `area` square reference pixels, less where there is no room; their ends fade."""
    tree = _all_points([vessel for vessel in large_vessels if len(vessel.points) > 1])
    avascular = rng.uniform(*AVASCULAR_RADIUS) * abs(anatomy.fovea - anatomy.disc)
    grown: list[Vessel] = []
    tries = 0
    while area > 0 and tries < MAX_TRIES:
        tries += 1
        vessel = _small_vessel(rng, anatomy, tree, avascular)
        if vessel is not None:
            grown.append(vessel)
            area -= covered_area(vessel)
            tree = VesselPoints(*map(np.concatenate, zip(tree, _all_points([vessel]), strict=True)))
    return grown


def _all_points(vessels: list[Vessel]) -> VesselPoints:
    """Concatenate the points of vessels."""
    points = np.concatenate([vessel.points for vessel in vessels]).astype(np.complex64)
    radius = np.concatenate([vessel.radius for vessel in vessels])
    artery = np.concatenate([np.full(len(vessel.points), vessel.artery) for vessel in vessels])
    return VesselPoints(points, radius, artery)


def _small_vessel(rng: np.random.Generator, anatomy: Anatomy, tree: VesselPoints, avascular: float) -> Vessel | None:
    """Grow the next vessel; None where it would be too thin or too short, or would grow into the fovea."""
    goals = (FOV_RADIUS + BEYOND_FOV) * np.sqrt(rng.random(CANDIDATES)) * np.exp(2j * np.pi * rng.random(CANDIDATES))
    gaps = np.abs(tree.points - goals.astype(np.complex64)[:, None])
    gaps[np.abs(goals - anatomy.fovea) < avascular] = 0
    chosen = int(gaps.min(axis=1).argmax())
    parent = int((gaps[chosen] + DETOUR * np.abs(tree.points - np.complex64(anatomy.disc))).argmin())
    expected = RADIUS_TO_GAP[0] * anatomy.magnification + RADIUS_TO_GAP[1] * gaps[chosen, parent]
    radius = min(float(expected * rng.uniform(*RADIUS_SPREAD)), MAX_RADIUS_TO_PARENT * float(tree.radius[parent]))
    start, goal = complex(tree.points[parent]), complex(goals[chosen])
    points = _path(rng, start, goal, anatomy.magnification, MIN_RADIUS / radius)
    points = points[np.cumsum(np.abs(points - anatomy.fovea) < avascular) == 0]
    if radius < MIN_RADIUS or len(points) < MIN_POINTS:
        return None
    darkness = vessel_darkness(rng, len(points), 0)
    radii = radius * np.linspace(1, END_TO_START_RADIUS, len(points))
    return Vessel(points, radii, darkness, bool(tree.artery[parent]))


def _path(
    rng: np.random.Generator, start: complex, goal: complex, magnification: float, kinkiness: float
) -> np.ndarray:
    """Return a curved path (N,) from start to goal, its kinks `kinkiness` times those of the thinnest vessel."""
    chord = goal - start
    along = np.linspace(0, 1, max(int(abs(chord) / STEP) + 1, 2))
    across = rng.normal(0, BOW) * np.sin(np.pi * along)
    for length, step in KINKS:
        knots = max(int(abs(chord) / (length * magnification)) + 1, 2)
        sideways = np.append(0, rng.normal(0, step * kinkiness, knots - 1)) / np.sqrt(knots)
        across = across + np.interp(along, np.linspace(0, 1, knots), sideways)
    return start + chord * (along + 1j * across)
