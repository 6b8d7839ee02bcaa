import math

import numpy as np
import pytest

from src.inference import vascular_biomarkers
from src.synthetic import generator


def parse(diagram: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in diagram.split()])


@pytest.mark.parametrize(
    ("diagram", "length"),
    [
        ("....", 0),
        ("#...", 0),
        ("####", 3),
        ("#..  .#.  ..#", 2 * math.sqrt(2)),
        ("#..  #..  ###", 4),  # the corner is two steps, not a diagonal one
        ("#.#  .#.  #.#", 4 * math.sqrt(2)),
        ("#.#  .#.  .#.", 1 + 2 * math.sqrt(2)),
    ],
)
def test_skeleton_length_is_the_sum_of_its_steps(diagram, length):
    assert vascular_biomarkers.skeleton_length(parse(diagram)) == pytest.approx(length)


def gasket(side: int) -> np.ndarray:
    """Sierpinski's, in a square."""
    y, x = np.indices((side, side))
    return (x & y) == 0


@pytest.mark.parametrize(
    ("lines", "dimension"),
    [
        (np.eye(512, dtype=bool), 1),
        (np.ones((512, 512), bool), 2),
        (gasket(512), math.log2(3)),
        (np.pad(gasket(512), 37), math.log2(3)),
        (gasket(256).repeat(2, axis=0).repeat(2, axis=1), math.log2(3)),
    ],
)
def test_fractal_dimension_of_known_figures(lines, dimension):
    assert vascular_biomarkers.fractal_dimension(lines, 512) == pytest.approx(dimension)


def line(points: np.ndarray) -> np.ndarray:
    skeleton = np.zeros((200, 200), bool)
    skeleton[tuple(points.astype(int))] = True
    return skeleton


STRAIGHT = line(np.array([np.full(100, 50), np.arange(40, 140)]))


@pytest.mark.parametrize("transform", [np.asarray, np.transpose, np.fliplr, np.flipud])
def test_tortuosity_of_a_straight_line_is_one(transform):
    assert vascular_biomarkers.tortuosity(transform(STRAIGHT), 10) == pytest.approx(1)


def test_tortuosity_is_arc_over_chord():
    corner = STRAIGHT.copy()
    corner[51:150, 139] = True  # as far down as along
    assert vascular_biomarkers.tortuosity(corner, 10) == pytest.approx(198 / (99 * math.sqrt(2)))


def test_tortuosity_is_measured_between_branching_points():
    crossing = STRAIGHT | STRAIGHT.T
    assert vascular_biomarkers.tortuosity(crossing, 10) == pytest.approx(1)


def test_tortuosity_leaves_out_short_and_closed_segments():
    ring = np.zeros((40, 40), bool)
    ring[5, 5:30] = ring[29, 5:30] = ring[5:30, 5] = ring[5:30, 29] = True
    assert math.isnan(vascular_biomarkers.tortuosity(ring, 10))
    assert math.isnan(vascular_biomarkers.tortuosity(STRAIGHT, 100))
    assert vascular_biomarkers.tortuosity(STRAIGHT, 99) == pytest.approx(1)


def test_biomarkers_of_a_bar():
    fov, vessels = np.zeros((300, 300), bool), np.zeros((300, 300), bool)
    fov[15:285, 15:285] = True  # half of the reference
    vessels[100:106, 50:250] = True
    vessels[0:10, :] = True  # outside
    uncertainty = np.where(vessels, 0.5, 0.1)
    found = vascular_biomarkers.measure_biomarkers(vessels, fov, uncertainty)
    assert set(found) == set(vascular_biomarkers.NAMES)
    assert found["vessel_density"] == pytest.approx(1200 / 270**2)
    assert found["fov_fraction"] == pytest.approx(0.81)
    assert found["skeleton_length"] == pytest.approx(2 * 195, abs=8)  # thinning shortens it by half a width at its ends
    assert found["mean_vessel_width"] == pytest.approx(12, abs=0.3)
    assert found["fractal_dimension"] == pytest.approx(1, abs=0.1)
    assert found["tortuosity"] == pytest.approx(1, abs=0.01)
    assert found["mean_uncertainty"] == pytest.approx((1200 * 0.5 + (270**2 - 1200) * 0.1) / 270**2)


def test_biomarkers_undefined_without_vessels_are_nan():
    fov = np.ones((64, 64), bool)
    found = vascular_biomarkers.measure_biomarkers(~fov, fov, None)
    assert (found["vessel_density"], found["skeleton_length"]) == (0, 0)
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"mean_vessel_width", "fractal_dimension", "tortuosity", "mean_uncertainty"}


def test_biomarkers_hardly_depend_on_the_image_size():
    sample = generator.generate(1, 0, 300, 290)
    small = vascular_biomarkers.measure_biomarkers(sample.truth, sample.fov, None)
    large = vascular_biomarkers.measure_biomarkers(
        *(np.kron(part, np.ones((2, 2), bool)) for part in (sample.truth, sample.fov)), None
    )
    for name in set(vascular_biomarkers.NAMES) - {"mean_uncertainty"}:
        assert large[name] == pytest.approx(small[name], rel=0.1), name
