"""Grow the retinal vascular tree from the optic disc: arcades and their branches.

Lengths and points are those of `anatomy`. Ranges without a named source were chosen by visual comparison with training
images of DRIVE and CHASE_DB1.
"""

import heapq
from dataclasses import dataclass, field

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
from src.synthetic.branching import branch_angles, daughter_radii
from src.synthetic.vessel_origins import BRANCH_LENGTH, GrowingTip, macular_axis, vessel_origins

TAPER = 0.0008  # fraction of the radius lost per reference pixel
FLOW_WEIGHT = 0.3  # of the direction towards the fovea inside the arcades, away from the disc outside
BRANCH_SPACING = (18.0, 55.0)  # length between two branchings of a vessel
DAUGHTER_RATIO = (0.2, 0.85)  # ratio of radii, smaller / larger
UNBRANCHED_RADIUS = 1.25  # around the disc / radius of the disc
TURN_PERSISTENCE = 0.78  # autocorrelation of the turning rate from step to step: bends about 14 pixels long
TORTUOSITY = (0.022, 0.055)  # radians per step: standard deviation of the turning rate's noise
CELL_SIZE = 3.0  # of the occupancy grid
LOOK_AHEAD = 9.0  # distance at which a vessel of the same kind stops the growth
CLEARANCE = 26.0  # distance at which the room for a new branch is measured
MAX_OCCUPIED_CELLS = 4  # there, for a branch to grow


@dataclass
class GrowthState:
    """Occupancy grid of veins and arteries (number of the vessel in each cell, 0: free), and the tips to grow."""

    anatomy: Anatomy
    cells: np.ndarray = field(default_factory=lambda: np.zeros((2, 256, 256), np.int32))
    queue: list[tuple[float, int, GrowingTip]] = field(default_factory=list)
    pushed: int = 0

    def push(self, tip: GrowingTip) -> None:
        """Queue a tip; the widest is grown first."""
        self.pushed += 1
        heapq.heappush(self.queue, (-tip.radius, self.pushed, tip))

    def cell(self, point: complex) -> tuple[int, int]:
        """Return row and column of a point's cell, clipped to the grid."""
        row, column = int(point.imag / CELL_SIZE) + 128, int(point.real / CELL_SIZE) + 128
        return min(max(row, 8), 247), min(max(column, 8), 247)

    def count_occupied(self, point: complex) -> int:
        """Count the occupied cells around a point, of both kinds."""
        row, column = self.cell(point)
        return int(np.count_nonzero(self.cells[:, row - 4 : row + 5, column - 4 : column + 5]))


def grow_tree(rng: np.random.Generator, anatomy: Anatomy, area: float) -> list[Vessel]:
    """Grow arteries and veins, widest first, until they cover `area` square reference pixels."""
    state = GrowthState(anatomy)
    for tip in vessel_origins(rng, anatomy):
        state.push(tip)
    vessels: list[Vessel] = []
    while state.queue and area > 0:
        _, _, tip = heapq.heappop(state.queue)
        vessel = _grow_vessel(rng, state, tip, len(vessels) + 1)
        vessels.append(vessel)
        area -= covered_area(vessel)
    return vessels


def _target_heading(anatomy: Anatomy, tip: GrowingTip, point: complex) -> float:
    """Return the heading, in radians, to which a vessel turns at a point."""
    axis = macular_axis(anatomy)
    if tip.arcade is None:
        inward = anatomy.fovea - point
        flow = inward if abs(inward) < abs(anatomy.fovea - anatomy.disc) else point - anatomy.disc
        return float(np.angle(np.exp(1j * tip.heading) + FLOW_WEIGHT * flow / abs(flow)))
    local = (point - anatomy.disc) / axis
    across = abs(local.imag)
    error = tip.arcade.curvature * across**2 - local.real
    slope = 2 * tip.arcade.curvature * across + 2.0 * error / abs(anatomy.fovea - anatomy.disc)
    return float(np.angle(axis * complex(slope, tip.arcade.side)))


def _grow_vessel(rng: np.random.Generator, state: GrowthState, tip: GrowingTip, number: int) -> Vessel:
    """Grow one vessel to its end and queue its side branches."""
    anatomy, point, heading, radius = state.anatomy, tip.point, tip.heading, tip.radius
    tortuosity, turn, travelled = rng.uniform(*TORTUOSITY), 0.0, 0.0
    if tip.arcade is not None:
        tortuosity *= 0.6
    avascular = rng.uniform(*AVASCULAR_RADIUS) * abs(anatomy.fovea - anatomy.disc)
    to_branch = anatomy.magnification * rng.uniform(*BRANCH_SPACING)
    points, radii, branched = [point], [radius], 0
    while travelled < tip.max_length and radius > MIN_RADIUS and abs(point) < FOV_RADIUS + 12:
        turn = TURN_PERSISTENCE * turn + rng.normal(0, tortuosity)
        deviation = _target_heading(anatomy, tip, point) - heading
        heading += turn + 0.10 * np.arctan2(np.sin(deviation), np.cos(deviation))
        point = point + STEP * np.exp(1j * heading)
        travelled += STEP
        radius *= 1 - TAPER * STEP
        if _blocked(state, tip, point, heading, number) or abs(point - anatomy.fovea) < avascular:
            break
        points.append(point)
        radii.append(radius)
        state.cells[(int(tip.artery), *state.cell(point))] = number
        if travelled > to_branch and abs(point - anatomy.disc) > UNBRANCHED_RADIUS * anatomy.disc_radius:
            radius, heading, grown = _branch(rng, state, tip, point, heading, radius, number)
            to_branch = travelled + anatomy.magnification * rng.uniform(*BRANCH_SPACING) * (1.0 if grown else 0.3)
            branched = len(points) if grown else branched
    return Vessel(np.array(points), np.array(radii), vessel_darkness(rng, len(points), branched), tip.artery)


def _blocked(state: GrowthState, tip: GrowingTip, point: complex, heading: float, number: int) -> bool:
    """Return whether a vessel of the same kind is ahead; arcades, and all vessels near the disc, ignore it."""
    if tip.arcade is not None or abs(point - state.anatomy.disc) < 1.3 * state.anatomy.disc_radius:
        return False
    ahead = state.cells[(int(tip.artery), *state.cell(point + LOOK_AHEAD * np.exp(1j * heading)))]
    return ahead not in (0, number, tip.parent)


def _branch(
    rng: np.random.Generator,
    state: GrowthState,
    tip: GrowingTip,
    point: complex,
    heading: float,
    radius: float,
    number: int,
) -> tuple[float, float, bool]:
    """Queue the smaller daughter on the emptier side; return radius and heading of the larger, and if it branched."""
    least = MIN_RADIUS * 1.12 / radius
    ratio = max(rng.uniform(*DAUGHTER_RATIO), least)
    larger, smaller = daughter_radii(radius, ratio)
    if ratio > 1.0 or smaller < MIN_RADIUS:
        return radius, heading, False
    larger_angle, smaller_angle = branch_angles(radius, larger, smaller)
    smaller_angle *= rng.uniform(0.65, 1.0)
    reach = CLEARANCE * state.anatomy.magnification
    occupied = [state.count_occupied(point + reach * np.exp(1j * (heading + side * smaller_angle))) for side in (-1, 1)]
    side = -1 if occupied[0] + rng.uniform(-2, 2) < occupied[1] else 1
    if min(occupied) > MAX_OCCUPIED_CELLS:
        return radius, heading, False
    length = state.anatomy.magnification * rng.uniform(*BRANCH_LENGTH) * (1 + smaller / state.anatomy.magnification)
    state.push(GrowingTip(point, heading + side * smaller_angle, smaller, tip.artery, None, length, number))
    return larger, heading - side * larger_angle, True
