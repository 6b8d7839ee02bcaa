"""Retinal vessel trees: how arteries and veins grow from the optic disc.

Lengths are *reference pixels*: pixels of a photograph whose field of view is 540 wide (DRIVE, 45 degrees).
Points are complex numbers, x + iy, with the origin at the centre of the field of view.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

FOV_RADIUS = 270.0  # of a DRIVE photograph
MURRAY = 3.0  # r0^3 = r1^3 + r2^3 (Murray, PNAS 1926)
VEIN_RADIUS = (3.5, 4.3)  # of a trunk at the disc; seen in DRIVE training photographs
ARTERY_TO_VEIN = (0.70, 0.85)  # ratio of calibres, about 2:3 to 4:5 in healthy eyes
LEAST_RADIUS = 0.55  # thinnest vessel that DRIVE's first observer draws: about one pixel
TAPER = 0.0008  # share of the radius lost per reference pixel
ARCADE_HEIGHT = (0.70, 0.95)  # arcade above or below the fovea / distance of disc and fovea; seen in DRIVE
PAIR_GAP = (0.04, 0.18)  # half the distance of artery and vein of a pair / arcade height
NASAL_HEIGHT = (0.45, 0.9)  # the same for the parabolas on the nasal side, which are straighter
NASAL_CALIBRE = (0.50, 0.75)  # nasal trunks against temporal ones
TWIG_RADIUS = (0.8, 1.25)  # vessels that leave the disc on their own, towards the macula or the nose
AVASCULAR = (0.10, 0.16)  # radius without visible vessels around the fovea / distance of disc and fovea
STEP = 3.0
FLOW = 0.3  # pull on twigs, towards the fovea inside the arcades and away from the disc outside
SPACING = (18.0, 55.0)  # length between branchings of one vessel
SMALLER_TO_LARGER = (0.2, 0.85)  # radii of the two daughters
BARE = 1.25  # no branching nearer to the disc / radius of the disc
TWIG_LENGTH = (45.0, 230.0)
TURN_MEMORY = 0.78  # of the turning rate from one step to the next: bends about 14 pixels long
TORTUOSITY = (0.022, 0.055)  # radians a step, of the noise in the turning rate
DARKNESS = (0.85, 1.15)  # of a vessel against others of its width
FADE = 4  # points over which a free end fades
CELL = 3.0  # of the map of occupied ground
LOOK_AHEAD = 9.0
ROOM = 26.0  # how far off a new branch looks for empty ground
MOST_CROWD = 4  # occupied cells there that still let it sprout


class Anatomy(NamedTuple):
    """Where the landmarks are; `zoom` is 1 at 45 degrees, more when the photograph shows less of the eye."""

    disc: complex
    fovea: complex
    disc_radius: float
    zoom: float


class Vessel(NamedTuple):
    """A run between branchings: points (N,) complex, radius (N,), darkness (N,) relative to its width."""

    points: np.ndarray
    radius: np.ndarray
    darkness: np.ndarray
    artery: bool


class Course(NamedTuple):
    """A trunk's parabola in the frame of disc (origin) and fovea (real axis): along = bend * across^2."""

    bend: float
    side: int


class Tip(NamedTuple):
    """A vessel about to grow."""

    point: complex
    heading: float
    radius: float
    artery: bool
    course: Course | None
    length: float
    parent: int


@dataclass
class Ground:
    """What is occupied: per kind, the number of the vessel in each cell (0 is free); and the queue."""

    anatomy: Anatomy
    cells: np.ndarray = field(default_factory=lambda: np.zeros((2, 256, 256), np.int32))
    queue: list = field(default_factory=list)
    pushed: int = 0

    def push(self, tip: Tip) -> None:
        """Queue a tip."""
        self.pushed += 1
        heapq.heappush(self.queue, (-tip.radius, self.pushed, tip))

    def cell(self, point: complex) -> tuple[int, int]:
        """Row and column of a point, kept inside the map."""
        row, column = int(point.imag / CELL) + 128, int(point.real / CELL) + 128
        return min(max(row, 8), 247), min(max(column, 8), 247)

    def crowd(self, point: complex) -> int:
        """How many cells around a point are occupied, by either kind."""
        row, column = self.cell(point)
        return int(np.count_nonzero(self.cells[:, row - 4 : row + 5, column - 4 : column + 5]))


def daughters(radius: float, ratio: float) -> tuple[float, float]:
    """Radii of the larger and smaller daughter of a vessel by Murray's law; `ratio` is smaller / larger.

    >>> daughters(1.0, 0.0)
    (1.0, 0.0)
    """
    larger = radius * (1.0 + ratio**MURRAY) ** (-1.0 / MURRAY)
    return larger, ratio * larger


def branch_angles(radius: float, larger: float, smaller: float) -> tuple[float, float]:
    """Angles, in radians, between parent and daughters that take least work (Murray, J Gen Physiol 1926)."""
    r0, r1, r2 = radius**4, larger**4, smaller**4
    cosine_1 = (r0 + r1 - r2) / (2 * radius**2 * larger**2)
    cosine_2 = (r0 + r2 - r1) / (2 * radius**2 * smaller**2)
    return float(np.arccos(min(cosine_1, 1.0))), float(np.arccos(min(cosine_2, 1.0)))


def grow(rng: np.random.Generator, anatomy: Anatomy, area: float) -> list[Vessel]:
    """Arteries and veins of one eye, widest first, until they cover `area` square reference pixels."""
    ground = Ground(anatomy)
    for tip in _roots(rng, anatomy):
        ground.push(tip)
    vessels = []
    while ground.queue and area > 0:
        vessel = _run(rng, ground, heapq.heappop(ground.queue)[2], len(vessels) + 1)
        vessels.append(vessel)
        area -= covered(vessel)
    return vessels


def covered(vessel: Vessel) -> float:
    """Area of a vessel inside the FOV, in square reference pixels."""
    length = np.abs(np.diff(vessel.points))
    return float(2 * (length * vessel.radius[1:])[np.abs(vessel.points[1:]) < FOV_RADIUS].sum())


def _roots(rng: np.random.Generator, anatomy: Anatomy) -> list[Tip]:
    """What leaves the disc: up and down, on either side, an artery beside a vein; and a few twigs."""
    vein = anatomy.zoom * rng.uniform(*VEIN_RADIUS)
    calibres = (vein, vein * rng.uniform(*ARTERY_TO_VEIN))
    distance = abs(anatomy.fovea - anatomy.disc)
    tips = []
    for side, nasal in ((-1, False), (1, False), (-1, True), (1, True)):
        height = rng.uniform(*(NASAL_HEIGHT if nasal else ARCADE_HEIGHT))
        gap = rng.choice((-1, 1)) * rng.uniform(*PAIR_GAP)
        share = rng.uniform(*NASAL_CALIBRE) if nasal else 1.0
        for artery, offset in ((False, 1 - gap), (True, 1 + gap)):
            bend = (-1 if nasal else 1) / (distance * (height * offset) ** 2)
            radius = calibres[artery] * share * rng.uniform(0.85, 1.0)
            tips.append(_root(rng, anatomy, radius, artery, Course(bend, side)))
    kinds = [(artery, nasal) for artery in (False, True) for nasal in (False, False, True)]
    return tips + [_disc_twig(rng, anatomy, artery, nasal) for artery, nasal in kinds]


def _root(rng: np.random.Generator, anatomy: Anatomy, radius: float, artery: bool, course: Course) -> Tip:
    axis = _axis(anatomy)
    along = rng.uniform(-0.2, 0.0) + 0.08 * np.sign(course.bend)
    start = complex(along, course.side * rng.uniform(-0.02, 0.10))
    heading = np.angle(axis * 1j * course.side) + rng.normal(0, 0.25)
    return Tip(anatomy.disc + anatomy.disc_radius * axis * start, heading, radius, artery, course, np.inf, 0)


def _disc_twig(rng: np.random.Generator, anatomy: Anatomy, artery: bool, nasal: bool) -> Tip:
    axis = -_axis(anatomy) if nasal else _axis(anatomy)
    turn = rng.choice((-1, 1)) * rng.uniform(0.15, 0.9)
    heading = np.angle(axis) + turn
    start = anatomy.disc + rng.uniform(0.1, 0.7) * anatomy.disc_radius * np.exp(1j * heading)
    radius = anatomy.zoom * rng.uniform(*TWIG_RADIUS)
    return Tip(start, heading, radius, artery, None, rng.uniform(0.6, 1.0) * TWIG_LENGTH[1], 0)


def _axis(anatomy: Anatomy) -> complex:
    """Unit vector from disc to fovea."""
    way = anatomy.fovea - anatomy.disc
    return way / abs(way)


def _goal(anatomy: Anatomy, tip: Tip, point: complex) -> float:
    """The heading that a vessel strives for at a point."""
    axis = _axis(anatomy)
    if tip.course is None:
        inward = anatomy.fovea - point
        flow = inward if abs(inward) < abs(anatomy.fovea - anatomy.disc) else point - anatomy.disc
        return float(np.angle(np.exp(1j * tip.heading) + FLOW * flow / abs(flow)))
    local = (point - anatomy.disc) / axis
    across = abs(local.imag)
    error = tip.course.bend * across**2 - local.real
    slope = 2 * tip.course.bend * across + 2.0 * error / abs(anatomy.fovea - anatomy.disc)
    return float(np.angle(axis * complex(slope, tip.course.side)))


def _run(rng: np.random.Generator, ground: Ground, tip: Tip, number: int) -> Vessel:
    """Grow one vessel to its end; its side branches are queued."""
    anatomy, point, heading, radius = ground.anatomy, tip.point, tip.heading, tip.radius
    tortuosity, turn, travelled = rng.uniform(*TORTUOSITY), 0.0, 0.0
    if tip.course is not None:
        tortuosity *= 0.6
    avascular = rng.uniform(*AVASCULAR) * abs(anatomy.fovea - anatomy.disc)
    to_branch = anatomy.zoom * rng.uniform(*SPACING)
    points, radii, forked = [point], [radius], 0
    while travelled < tip.length and radius > LEAST_RADIUS and abs(point) < FOV_RADIUS + 12:
        turn = TURN_MEMORY * turn + rng.normal(0, tortuosity)
        off = _goal(anatomy, tip, point) - heading
        heading += turn + 0.10 * np.arctan2(np.sin(off), np.cos(off))
        point = point + STEP * np.exp(1j * heading)
        travelled += STEP
        radius *= 1 - TAPER * STEP
        if _blocked(ground, tip, point, heading, number) or abs(point - anatomy.fovea) < avascular:
            break
        points.append(point)
        radii.append(radius)
        ground.cells[(int(tip.artery), *ground.cell(point))] = number
        if travelled > to_branch and abs(point - anatomy.disc) > BARE * anatomy.disc_radius:
            radius, heading, grown = _branch(rng, ground, tip, point, heading, radius, number)
            to_branch = travelled + anatomy.zoom * rng.uniform(*SPACING) * (1.0 if grown else 0.3)
            forked = len(points) if grown else forked
    return Vessel(np.array(points), np.array(radii), darkness(rng, len(points), forked), tip.artery)


def _blocked(ground: Ground, tip: Tip, point: complex, heading: float, number: int) -> bool:
    """Whether a vessel of the same kind lies ahead; trunks, and all vessels near the disc, pass."""
    if tip.course is not None or abs(point - ground.anatomy.disc) < 1.3 * ground.anatomy.disc_radius:
        return False
    ahead = ground.cells[(int(tip.artery), *ground.cell(point + LOOK_AHEAD * np.exp(1j * heading)))]
    return ahead not in (0, number, tip.parent)


def _branch(
    rng: np.random.Generator, ground: Ground, tip: Tip, point: complex, heading: float, radius: float, number: int
) -> tuple[float, float, bool]:
    """Queue a daughter on the emptier side; radius and heading of the larger, and whether it forked."""
    least = LEAST_RADIUS * 1.12 / radius
    ratio = max(rng.uniform(*SMALLER_TO_LARGER), least)
    larger, smaller = daughters(radius, ratio)
    if ratio > 1.0 or smaller < LEAST_RADIUS:
        return radius, heading, False
    bend, turn = branch_angles(radius, larger, smaller)
    turn *= rng.uniform(0.65, 1.0)
    reach = ROOM * ground.anatomy.zoom
    crowds = [ground.crowd(point + reach * np.exp(1j * (heading + side * turn))) for side in (-1, 1)]
    side = -1 if crowds[0] + rng.uniform(-2, 2) < crowds[1] else 1
    if min(crowds) > MOST_CROWD:
        return radius, heading, False
    length = ground.anatomy.zoom * rng.uniform(*TWIG_LENGTH) * (1 + smaller / ground.anatomy.zoom)
    ground.push(Tip(point, heading + side * turn, smaller, tip.artery, None, length, number))
    return larger, heading - side * bend, True


def darkness(rng: np.random.Generator, count: int, forked: int) -> np.ndarray:
    """Darkness (count,) along a vessel: its end fades, but not before its last fork at point `forked`."""
    index = np.arange(count)
    fading = np.where(index < forked, 1.0, np.clip((count - index) / FADE, 0, 1))
    return rng.uniform(*DARKNESS) * fading
