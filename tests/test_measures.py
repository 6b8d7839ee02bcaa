import math

import numpy as np
import pytest

from src import measures, phantom


def drawn(picture: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in picture.split()])


@pytest.mark.parametrize(
    ("picture", "length"),
    [
        ("....", 0),
        ("#...", 0),
        ("####", 3),
        ("#..  .#.  ..#", 2 * math.sqrt(2)),
        ("#..  #..  ###", 4),  # the corner is gone around, not cut
        ("#.#  .#.  #.#", 4 * math.sqrt(2)),
        ("#.#  .#.  .#.", 1 + 2 * math.sqrt(2)),
    ],
)
def test_length_of_a_centreline_is_that_of_its_steps(picture, length):
    assert measures.centreline_length(drawn(picture)) == pytest.approx(length)


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
def test_dimension_of_known_figures(lines, dimension):
    assert measures.fractal_dimension(lines, 512) == pytest.approx(dimension)


def line(points: np.ndarray) -> np.ndarray:
    picture = np.zeros((200, 200), bool)
    picture[tuple(points.astype(int))] = True
    return picture


STRAIGHT = line(np.array([np.full(100, 50), np.arange(40, 140)]))


@pytest.mark.parametrize("turn", [np.asarray, np.transpose, np.fliplr, np.flipud])
def test_tortuosity_of_a_straight_line_is_one(turn):
    assert measures.tortuosity(turn(STRAIGHT), 10) == pytest.approx(1)


def test_tortuosity_is_arc_over_chord():
    corner = STRAIGHT.copy()
    corner[51:150, 139] = True  # as far down as along
    assert measures.tortuosity(corner, 10) == pytest.approx(198 / (99 * math.sqrt(2)))


def test_tortuosity_is_that_of_the_segments_between_branchings():
    crossing = STRAIGHT | STRAIGHT.T
    assert measures.tortuosity(crossing, 10) == pytest.approx(1)


def test_short_segments_and_closed_ones_do_not_count():
    ring = np.zeros((40, 40), bool)
    ring[5, 5:30] = ring[29, 5:30] = ring[5:30, 5] = ring[5:30, 29] = True
    assert math.isnan(measures.tortuosity(ring, 10))
    assert math.isnan(measures.tortuosity(STRAIGHT, 100))
    assert measures.tortuosity(STRAIGHT, 99) == pytest.approx(1)


def test_a_bar_is_measured():
    fov, vessels = np.zeros((300, 300), bool), np.zeros((300, 300), bool)
    fov[15:285, 15:285] = True  # half of the reference
    vessels[100:106, 50:250] = True
    vessels[0:10, :] = True  # outside
    doubt = np.where(vessels, 0.5, 0.1)
    found = measures.measure(vessels, fov, doubt)
    assert set(found) == set(measures.NAMES)
    assert found["vessel_density"] == pytest.approx(1200 / 270**2)
    assert found["fov_share"] == pytest.approx(0.81)
    assert found["centreline_length"] == pytest.approx(
        2 * 195, abs=8
    )  # thinning shortens it by half a width at its ends
    assert found["mean_width"] == pytest.approx(12, abs=0.3)
    assert found["fractal_dimension"] == pytest.approx(1, abs=0.1)
    assert found["tortuosity"] == pytest.approx(1, abs=0.01)
    assert found["mean_doubt"] == pytest.approx((1200 * 0.5 + (270**2 - 1200) * 0.1) / 270**2)


def test_what_is_undefined_without_vessels_is_nan():
    fov = np.ones((64, 64), bool)
    found = measures.measure(~fov, fov, None)
    assert (found["vessel_density"], found["centreline_length"]) == (0, 0)
    undefined = {name for name, value in found.items() if math.isnan(value)}
    assert undefined == {"mean_width", "fractal_dimension", "tortuosity", "mean_doubt"}


def test_numbers_do_not_depend_on_the_size_of_the_photograph():
    eye = phantom.draw(1, 0, 300, 290)
    small = measures.measure(eye.truth, eye.fov, None)
    large = measures.measure(*(np.kron(part, np.ones((2, 2), bool)) for part in (eye.truth, eye.fov)), None)
    for name in set(measures.NAMES) - {"mean_doubt"}:
        assert large[name] == pytest.approx(small[name], rel=0.1), name
