"""The thin vessels: twigs that leave a vessel, or each other, and grow into the emptiest ground.

Lengths and points are those of `vessels`. Constants without a named source were fitted, or chosen by eye, to the
vessels that DRIVE's first observer drew in the training photographs.
"""

from typing import NamedTuple

import numpy as np

from src import vessels
from src.vessels import AVASCULAR, FOV_RADIUS, LEAST_RADIUS, STEP, Anatomy, Vessel

MOST_TRIES = 400
CANDIDATES = 16  # points among which the next twig chooses the emptiest
RIM = 4.0  # twigs grow towards points that lie so far beyond the FOV at most
DETOUR = 0.6  # a twig leaves its parent nearer to the disc than where it is nearest; 0: there
RADIUS_TO_GAP = (0.42, 0.012)  # radius of a twig: at no distance from its parent, more for each reference pixel of it
SPREAD = (0.85, 1.25)  # factor on that from twig to twig
RADIUS_TO_PARENT = 0.85  # largest radius of a twig / its parent's
TAPERED = 0.8  # radius at the end of a twig / at its start
FEWEST_POINTS = 3
BULGE = 0.10  # bend of a twig / its length, standard deviation
KINKS = ((8.0, 0.11), (22.0, 0.13))  # (length between kinks, sideways step there / that length) of the thinnest twig


class Tree(NamedTuple):
    """All points (N,) complex64 of some vessels, with the radius there and whether it is an artery."""

    points: np.ndarray
    radius: np.ndarray
    artery: np.ndarray


def fill(rng: np.random.Generator, anatomy: Anatomy, trunks: list[Vessel], area: float) -> list[Vessel]:
    """Twigs that cover `area` square reference pixels, less where there is no room; their ends fade."""
    tree = _joined([trunk for trunk in trunks if len(trunk.points) > 1])
    avascular = rng.uniform(*AVASCULAR) * abs(anatomy.fovea - anatomy.disc)
    twigs, tries = [], 0
    while area > 0 and tries < MOST_TRIES:
        tries += 1
        twig = _twig(rng, anatomy, tree, avascular)
        if twig is not None:
            twigs.append(twig)
            area -= vessels.covered(twig)
            tree = Tree(*map(np.concatenate, zip(tree, _joined([twig]), strict=True)))
    return twigs


def _joined(parts: list[Vessel]) -> Tree:
    points = np.concatenate([vessel.points for vessel in parts]).astype(np.complex64)
    radius = np.concatenate([vessel.radius for vessel in parts])
    return Tree(points, radius, np.concatenate([np.full(len(vessel.points), vessel.artery) for vessel in parts]))


def _twig(rng: np.random.Generator, anatomy: Anatomy, tree: Tree, avascular: float) -> Vessel | None:
    """The next twig, None where it would be too thin or too short, or would grow into the fovea."""
    goals = (FOV_RADIUS + RIM) * np.sqrt(rng.random(CANDIDATES)) * np.exp(2j * np.pi * rng.random(CANDIDATES))
    gaps = np.abs(tree.points - goals.astype(np.complex64)[:, None])
    gaps[np.abs(goals - anatomy.fovea) < avascular] = 0
    chosen = int(gaps.min(axis=1).argmax())
    parent = int((gaps[chosen] + DETOUR * np.abs(tree.points - np.complex64(anatomy.disc))).argmin())
    wanted = (RADIUS_TO_GAP[0] * anatomy.zoom + RADIUS_TO_GAP[1] * gaps[chosen, parent]) * rng.uniform(*SPREAD)
    radius = min(float(wanted), RADIUS_TO_PARENT * float(tree.radius[parent]))
    points = _path(rng, complex(tree.points[parent]), complex(goals[chosen]), anatomy.zoom, LEAST_RADIUS / radius)
    points = points[np.cumsum(np.abs(points - anatomy.fovea) < avascular) == 0]
    if radius < LEAST_RADIUS or len(points) < FEWEST_POINTS:
        return None
    darkness = vessels.darkness(rng, len(points), 0)
    return Vessel(points, radius * np.linspace(1, TAPERED, len(points)), darkness, bool(tree.artery[parent]))


def _path(rng: np.random.Generator, start: complex, goal: complex, zoom: float, kinked: float) -> np.ndarray:
    """A bent way (N,) from start to goal, with kinks `kinked` times as strong as those of the thinnest twig."""
    way = goal - start
    along = np.linspace(0, 1, max(int(abs(way) / STEP) + 1, 2))
    across = rng.normal(0, BULGE) * np.sin(np.pi * along)
    for length, step in KINKS:
        knots = max(int(abs(way) / (length * zoom)) + 1, 2)
        sideways = np.append(0, rng.normal(0, step * kinked, knots - 1)) / np.sqrt(knots)
        across = across + np.interp(along, np.linspace(0, 1, knots), sideways)
    return start + way * (along + 1j * across)
