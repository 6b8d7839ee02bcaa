import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.measure import euler_number
from skimage.morphology import skeletonize

from src.metrics import vessel_geometry
from tests.metrics.vessel_maps import EIGHT_CONNECTED, VESSEL_MAPS, bar, field, on_field, random_map, vessel_map

LIMITS = (2.5, 5.5)


def geometry(vessels: np.ndarray, fov: np.ndarray | None = None) -> vessel_geometry.VesselGeometry:
    return vessel_geometry.measure_geometry(vessels, np.ones_like(vessels) if fov is None else fov, LIMITS)


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_width_of_a_horizontal_or_vertical_bar_is_exact(width, turn):
    vessels = turn(np.ones((width, 60), bool))
    line = skeletonize(vessels)
    along = np.maximum(*np.indices(vessels.shape))[line]
    measured = vessel_geometry.vessel_widths(vessels, line)
    assert set(measured[(along > 10) & (along < 50)]) == {width}


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("degrees", range(15, 180, 15))
def test_width_of_an_oblique_bar_is_its_area_by_its_length(width, degrees):
    vessels = bar(width, degrees)
    line = skeletonize(vessels)
    y, x = np.nonzero(line)
    inner = np.hypot(x - 80, y - 80) < 50
    assert vessel_geometry.vessel_widths(vessels, line)[inner].mean() == pytest.approx(vessels.sum() / 120, abs=0.6)


@pytest.mark.parametrize(("offset", "width"), [(0, 1), (1, math.sqrt(2))])
def test_width_of_a_diagonal_by_hand(offset, width):
    # pixels touching at corners, and a stair of steps of one: half a square of side 2 is sqrt(2) deep
    vessels = np.eye(30, dtype=bool) | np.eye(30, k=offset, dtype=bool)
    line = np.eye(30, dtype=bool)
    assert vessel_geometry.vessel_widths(vessels, line)[5:25] == pytest.approx(np.full(20, width))


@pytest.mark.parametrize(("times", "place"), [(1, 1), (2, 0), (4, 0)])
def test_width_is_measured_by_the_diameter_of_the_fov(times, place):
    vessels = np.zeros((540 * times, 540 * times), bool)
    vessels[100:104, 100:300] = True
    found = geometry(vessels).width_class[101, 200]
    assert found == place


def test_width_at_the_limit_is_of_the_thicker_class():
    vessels = on_field(np.ones((3, 100), bool))
    assert vessel_geometry.measure_geometry(vessels, field(), (3, 6)).width_class[51, 100] == 1


@pytest.mark.parametrize("seed", range(12))
def test_width_class_is_that_of_the_nearest_skeleton(seed):
    vessels = random_map(seed)
    limits = (1.5 * 540 / max(vessels.shape), 2.5 * 540 / max(vessels.shape))
    d = vessel_geometry.measure_geometry(vessels, np.ones_like(vessels), limits)
    on_skeleton = np.digitize(vessel_geometry.vessel_widths(vessels, d.skeleton), (1.5, 2.5))
    points, pixels = np.argwhere(d.skeleton), np.argwhere(vessels)
    squared = ((pixels[:, None] - points[None]) ** 2).sum(axis=2)
    nearest = squared == squared.min(axis=1, keepdims=True)
    expected = np.where(nearest, on_skeleton, 9).min(axis=1)  # among equals the thinner
    assert np.array_equal(d.width_class[vessels], expected)
    assert (d.width_class[~vessels] == -1).all()


@pytest.mark.parametrize("seed", range(30))
def test_every_component_keeps_a_skeleton(seed):
    vessels = random_map(seed)
    labels, components = ndimage.label(vessels, EIGHT_CONNECTED)
    assert len(np.unique(labels[skeletonize(vessels)])) == components


def test_boundary_by_hand():
    block = vessel_map(".....", ".####", ".####", ".####", "....#")
    edge = vessel_map(".....", ".####", ".#..#", ".####", "....#")
    assert np.array_equal(vessel_geometry.vessel_boundary(block), edge)


@pytest.mark.parametrize("seed", range(6))
def test_boundary_is_what_erosion_removes(seed):
    vessels = random_map(seed)
    assert np.array_equal(vessel_geometry.vessel_boundary(vessels), vessels & ~ndimage.binary_erosion(vessels))


@pytest.mark.parametrize("name", VESSEL_MAPS)
def test_components_and_loops_by_hand(name):
    vessels, components, holes = VESSEL_MAPS[name]
    assert (vessel_geometry.count_components(vessels), vessel_geometry.count_loops(vessels)) == (components, holes)


@pytest.mark.parametrize("seed", range(12))
def test_components_and_loops_agree_with_scipy_and_scikit_image(seed):
    vessels = random_map(seed)
    components = ndimage.label(vessels, EIGHT_CONNECTED)[1]
    assert vessel_geometry.count_components(vessels) == components
    assert vessel_geometry.count_loops(vessels) == components - euler_number(vessels, connectivity=2)


def test_a_ring_cut_by_the_fov_is_no_loop():
    ring, fov = np.ones((9, 9), bool), np.ones((9, 9), bool)
    ring[1:-1, 1:-1] = False
    fov[:, 6:] = False
    assert (geometry(ring).loops, geometry(ring, fov).loops) == (1, 0)


def test_input_is_not_modified():
    truth, fov = random_map(1), random_map(1) | True
    geometry(truth, fov)
    assert np.array_equal(truth, random_map(1))


@pytest.mark.parametrize("wrong", [np.zeros((9, 9)), np.zeros((9, 8), bool), np.zeros((9, 9, 1), bool)])
def test_other_types_and_shapes_are_rejected(wrong):
    with pytest.raises(ValueError, match=r"vessels: expected bool of shape \(9, 9\), got"):
        vessel_geometry.measure_geometry(wrong, np.ones((9, 9), bool), LIMITS)


@pytest.mark.parametrize("limits", [(5, 2), (3, 3), (0, 2), (math.nan, 2)])
def test_limits_that_do_not_increase_are_rejected(limits):
    with pytest.raises(ValueError, match="width_limits: expected two positive, increasing widths"):
        vessel_geometry.measure_geometry(np.ones((9, 9), bool), np.ones((9, 9), bool), limits)
