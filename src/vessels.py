"""Retinal vessel trees: how arteries and veins grow from the optic disc.

Lengths are *reference pixels*: pixels of a photograph whose field of view is 540 wide (DRIVE, 45 degrees).
Points are complex numbers, x + iy, with the origin at the centre of the field of view.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

import cmath
import heapq
import itertools
import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

FOV_RADIUS = 270.0  # of a DRIVE photograph
MURRAY = 3.0  # r0^3 = r1^3 + r2^3 (Murray, PNAS 1926)
VEIN_RADIUS = (2.6, 4.0)  # of a trunk at the disc; seen in DRIVE training photographs, and wider
ARTERY_TO_VEIN = (0.70, 0.85)  # ratio of calibres, about 2:3 to 4:5 in healthy eyes
LEAST_RADIUS = 0.40  # thinnest vessel that shows at all; observers stop at about one pixel of width
TAPER = 0.0008  # share of the radius lost per reference pixel
ARCADE_HEIGHT = (0.70, 0.95)  # arcade above or below the fovea / distance of disc and fovea; seen in DRIVE
PAIR_GAP = (0.05, 0.17)  # half the distance of artery and vein of a pair / arcade height
NASAL_HEIGHT = (0.45, 0.9)  # the same for the parabolas on the nasal side, which are straighter
NASAL_CALIBRE = (0.50, 0.75)  # nasal trunks against temporal ones
TWIG_RADIUS = (0.8, 1.25)  # vessels that leave the disc on their own, towards the macula or the nose
AVASCULAR = (0.10, 0.16)  # radius without visible vessels around the fovea / distance of disc and fovea
STEP = 3.0
FLOW = 0.6  # pull on twigs, towards the fovea inside the arcades and away from the disc outside
SPACING = (10.0, 36.0)  # length between branchings of one vessel
SMALLER_TO_LARGER = (0.15, 0.85)  # radii of the two daughters
SIDE_TWIGS = 2.0  # power of a random share of this range: 1 is even, more makes most daughters thin twigs
BARE = 1.25  # no branching nearer to the disc / radius of the disc
TWIG_LENGTH = (24.0, 230.0)
TURN_MEMORY = 0.78  # of the turning rate from one step to the next: bends about 14 pixels long
TORTUOSITY = (0.025, 0.085)  # of an eye: radians a step, of the noise in the turning rate of a vessel 2 pixels wide
WINDING = (0.5, 1.6)  # least and most of it in wide and in thin vessels
TURNING = 0.14  # share of the way to the heading a vessel strives for that it turns in a step
FADE = 4  # points over which a free end fades
DARKNESS = (0.75, 1.2)  # of one vessel against the ordinary one of its width
DEPTH_CHANGES, DEPTH_POINTS = (
    0.12,
    8,
)  # standard deviation of darkness along a vessel; points between independent values
CELL = 3.0  # of the map of occupied ground
LOOK_AHEAD = 9.0
ROOM = 20.0  # how far off a new branch looks for empty ground
MOST_CROWD = 6  # occupied cells there that still let it sprout


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
    tortuosity: float
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
    return math.acos(min(cosine_1, 1.0)), math.acos(min(cosine_2, 1.0))


def grow(rng: np.random.Generator, anatomy: Anatomy, area: float) -> list[Vessel]:
    """Arteries and veins of one eye, widest first, until they cover `area` square reference pixels."""
    ground = Ground(anatomy, math.exp(rng.uniform(*np.log(TORTUOSITY))))
    for tip in _roots(rng, anatomy):
        ground.push(tip)
    vessels, covered = [], 0.0
    while ground.queue and covered < area:
        vessel = _run(rng, ground, heapq.heappop(ground.queue)[2], len(vessels) + 1)
        vessels.append(vessel)
        inside = np.abs(vessel.points) < FOV_RADIUS
        covered += float(2 * STEP * vessel.radius[inside].sum())
    return vessels


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
        return cmath.phase(cmath.rect(1, tip.heading) + FLOW * flow / abs(flow))
    local = (point - anatomy.disc) / axis
    across = abs(local.imag)
    error = tip.course.bend * across**2 - local.real
    slope = 2 * tip.course.bend * across + 2.0 * error / abs(anatomy.fovea - anatomy.disc)
    return cmath.phase(axis * complex(slope, tip.course.side))


def _run(rng: np.random.Generator, ground: Ground, tip: Tip, number: int) -> Vessel:
    """Grow one vessel to its end; its side branches are queued."""
    anatomy, point, heading, radius = ground.anatomy, complex(tip.point), float(tip.heading), float(tip.radius)
    turns = _turns(rng, ground, tip)
    avascular = rng.uniform(*AVASCULAR) * abs(anatomy.fovea - anatomy.disc)
    to_branch = anatomy.zoom * rng.uniform(*SPACING)
    points, radii, forked = [point], [radius], 0
    for count, turn in enumerate(turns, 1):
        if radius <= LEAST_RADIUS or abs(point) >= FOV_RADIUS + 12:
            break
        off = _goal(anatomy, tip, point) - heading
        heading += turn + TURNING * math.atan2(math.sin(off), math.cos(off))
        point = point + cmath.rect(STEP, heading)
        radius *= 1 - TAPER * STEP
        if _blocked(ground, tip, point, heading, number) or abs(point - anatomy.fovea) < avascular:
            break
        points.append(point)
        radii.append(radius)
        ground.cells[(int(tip.artery), *ground.cell(point))] = number
        if count * STEP > to_branch and abs(point - anatomy.disc) > BARE * anatomy.disc_radius:
            radius, heading, grown = _branch(rng, ground, tip, point, heading, radius, number)
            to_branch = count * STEP + anatomy.zoom * rng.uniform(*SPACING) * (1.0 if grown else 0.3)
            forked = len(points) if grown else forked
    return Vessel(np.array(points), np.array(radii), _darkness(rng, len(points), forked), tip.artery)


def _turns(rng: np.random.Generator, ground: Ground, tip: Tip) -> list[float]:
    """By how much a vessel turns of itself in each step: coloured noise, more of it in thin vessels."""
    winding = np.clip(tip.radius**-0.5, *WINDING) * ground.tortuosity * rng.uniform(0.6, 1.4)
    noise = rng.normal(0, winding, math.ceil(min(tip.length, 4 * FOV_RADIUS) / STEP)).tolist()
    return list(itertools.accumulate(noise, lambda turn, new: TURN_MEMORY * turn + new))


def _blocked(ground: Ground, tip: Tip, point: complex, heading: float, number: int) -> bool:
    """Whether a vessel of the same kind lies ahead; trunks, and all vessels near the disc, pass."""
    if tip.course is not None or abs(point - ground.anatomy.disc) < 1.3 * ground.anatomy.disc_radius:
        return False
    ahead = ground.cells[(int(tip.artery), *ground.cell(point + cmath.rect(LOOK_AHEAD, heading)))]
    return ahead not in (0, number, tip.parent)


def _branch(
    rng: np.random.Generator, ground: Ground, tip: Tip, point: complex, heading: float, radius: float, number: int
) -> tuple[float, float, bool]:
    """Queue a daughter on the emptier side; radius and heading of the larger, and whether it forked."""
    least = LEAST_RADIUS * 1.12 / radius
    share = rng.random() ** SIDE_TWIGS
    ratio = max(SMALLER_TO_LARGER[0] + share * (SMALLER_TO_LARGER[1] - SMALLER_TO_LARGER[0]), least)
    larger, smaller = daughters(radius, ratio)
    if ratio > 1.0 or smaller < LEAST_RADIUS:
        return radius, heading, False
    bend, turn = branch_angles(radius, larger, smaller)
    turn *= rng.uniform(0.65, 1.0)
    reach = ROOM * ground.anatomy.zoom
    crowds = [ground.crowd(point + cmath.rect(reach, heading + side * turn)) for side in (-1, 1)]
    side = -1 if crowds[0] + rng.uniform(-2, 2) < crowds[1] else 1
    if min(crowds) > MOST_CROWD:
        return radius, heading, False
    length = ground.anatomy.zoom * rng.uniform(*TWIG_LENGTH) * (1 + smaller / ground.anatomy.zoom)
    ground.push(Tip(point, heading + side * turn, smaller, tip.artery, None, length, number))
    return larger, heading - side * bend, True


def _darkness(rng: np.random.Generator, count: int, forked: int) -> np.ndarray:
    """Darkness (count,) along a vessel, which dips in and out of the retina; its end fades after its last fork."""
    index = np.arange(count)
    fading = np.where(index < forked, 1.0, np.clip((count - index) / FADE, 0, 1))
    depths = rng.normal(1, DEPTH_CHANGES, count // DEPTH_POINTS + 2)
    return rng.uniform(*DARKNESS) * np.interp(index / DEPTH_POINTS, range(len(depths)), depths) * fading
