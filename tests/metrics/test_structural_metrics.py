import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import directed_hausdorff
from skimage.metrics import hausdorff_distance
from skimage.morphology import skeletonize

from src.metrics import structural_metrics, vessel_geometry
from tests.metrics.vessel_maps import VESSEL_MAPS, bar, on_field, random_pair, vessel_map, widths_field

LIMITS = (2.5, 5.5)
NAMES = [
    "cldice",
    *(f"{score}_{width}" for score in ("recall", "precision") for width in ("thin", "medium", "thick")),
    *("hausdorff", "hausdorff_95", "surface_distance", "betti_0_error", "betti_1_error"),
]


def geometry(vessels: np.ndarray, fov: np.ndarray | None = None) -> vessel_geometry.VesselGeometry:
    return vessel_geometry.measure_geometry(vessels, np.ones_like(vessels) if fov is None else fov, LIMITS)


def scored(truth: np.ndarray, predicted: np.ndarray, fov: np.ndarray | None = None) -> dict[str, float]:
    return structural_metrics.structural_scores(geometry(truth, fov), geometry(predicted, fov))


# names


def test_scores_have_their_names_in_order():
    assert list(scored(bar(3, 0), bar(5, 0))) == NAMES


def test_scores_are_plain_floats():
    assert {type(value) for value in scored(bar(3, 0), bar(5, 0)).values()} == {float}


# centreline Dice


def test_cldice_by_hand():
    # of the truth's 9 pixels the prediction has 6; of its own 8 pixels 2 lie beside
    truth = vessel_map(".........", "#########", ".........")
    predicted = vessel_map("......##.", "######...", ".........")
    named = scored(truth, predicted)
    assert named["cldice"] == pytest.approx(2 * (6 / 8) * (6 / 9) / (6 / 8 + 6 / 9))


@pytest.mark.parametrize("seed", range(12))
def test_cldice_agrees_with_its_equation(seed):
    truth, predicted = random_pair(seed)
    precision = np.sum(skeletonize(predicted) * truth) / np.sum(skeletonize(predicted))
    sensitivity = np.sum(skeletonize(truth) * predicted) / np.sum(skeletonize(truth))
    expected = 2 * precision * sensitivity / (precision + sensitivity)
    assert scored(truth, predicted)["cldice"] == pytest.approx(expected)


def test_cldice_of_lines_apart_is_0():
    assert scored(np.eye(9, dtype=bool), np.eye(9, k=3, dtype=bool))["cldice"] == 0.0


def test_cldice_ignores_vessel_width():
    assert scored(bar(3, 0), bar(5, 0))["cldice"] == 1.0


# widths


def test_recall_by_width_by_hand():
    truth = widths_field()
    predicted = truth.copy()
    predicted[100, :] = False  # one row of two
    predicted[200, :] = False  # one of four
    predicted[300:308, 100:200] = False  # 100 columns of 500
    named = scored(truth, predicted)
    assert [named[f"recall_{width}"] for width in vessel_geometry.WIDTH_CLASSES] == pytest.approx([1 / 2, 3 / 4, 4 / 5])


def test_precision_by_width_by_hand():
    predicted = widths_field()
    truth = predicted.copy()
    truth[101, :] = False
    truth[200:203, :] = False
    truth[304, :] = False
    named = scored(truth, predicted)
    assert [named[f"precision_{width}"] for width in vessel_geometry.WIDTH_CLASSES] == pytest.approx(
        [1 / 2, 1 / 4, 7 / 8]
    )


def test_precision_goes_by_the_predicted_width():
    named = scored(on_field(np.ones((8, 100), bool)), on_field(np.ones((2, 100), bool)))
    assert named["precision_thin"] == 1.0
    assert math.isnan(named["precision_thick"])
    assert named["recall_thick"] == pytest.approx(2 / 8)
    assert math.isnan(named["recall_thin"])


# distances


def test_distances_by_hand():
    # two lines of 100 pixels, 3 rows apart; of the predicted one 10 pixels lie 7 rows further off
    truth, predicted = np.zeros((2, 540, 540), bool)
    truth[50, 100:200] = True
    predicted[53, 100:190] = True
    predicted[60, 190:200] = True
    named = scored(truth, predicted)
    from_truth = [3] * 90 + [math.hypot(3, step) for step in range(1, 10)] + [10]
    from_predicted = [3] * 90 + [10] * 10
    assert named["hausdorff"] == pytest.approx(10)
    assert named["hausdorff_95"] == 10.0
    assert named["surface_distance"] == pytest.approx(sum(from_truth + from_predicted) / 200)


@pytest.mark.parametrize("seed", range(12))
def test_distances_agree_with_scipy_and_scikit_image(seed):
    truth, predicted = random_pair(seed)
    scale = max(truth.shape) / 540
    edges = [vessels & ~ndimage.binary_erosion(vessels) for vessels in (truth, predicted)]
    points = [np.argwhere(edge) for edge in edges]
    ways = [cKDTree(points[1]).query(points[0])[0], cKDTree(points[0]).query(points[1])[0]]
    named = scored(truth, predicted)
    both_ways = max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0])
    assert named["hausdorff"] == pytest.approx(hausdorff_distance(*edges) / scale, rel=1e-5)
    assert named["hausdorff"] == pytest.approx(both_ways / scale, rel=1e-5)
    assert named["hausdorff_95"] == pytest.approx(max(np.percentile(way, 95) for way in ways) / scale, rel=1e-5)
    assert named["surface_distance"] == pytest.approx(np.concatenate(ways).mean() / scale, rel=1e-5)


def test_distance_is_the_same_at_twice_the_size():
    small, large = np.zeros((270, 270), bool), np.zeros((540, 540), bool)
    small[100, 50:150], large[200, 100:300] = True, True
    assert scored(small, np.roll(small, 4, 0))["hausdorff"] == scored(large, np.roll(large, 8, 0))["hausdorff"] == 8.0


# components and loops


def test_betti_errors_by_hand():
    named = scored(VESSEL_MAPS["component in a ring"][0], np.eye(5, dtype=bool))
    assert (named["betti_0_error"], named["betti_1_error"]) == (1, 1)


# laws


def test_equal_maps_are_perfect():
    named = scored(widths_field(), widths_field())
    assert list(named.values()) == [1.0] * 7 + [0.0] * 5


OTHER_WAY = {name: name for name in NAMES if not name.startswith(("recall", "precision"))} | {
    f"{a}_{width}": f"{b}_{width}"
    for a, b in (("recall", "precision"), ("precision", "recall"))
    for width in vessel_geometry.WIDTH_CLASSES
}


@pytest.mark.parametrize("seed", range(6))
def test_exchanged_maps_exchange_recall_and_precision_and_nothing_else(seed):
    truth, predicted = random_pair(seed)
    one, other = scored(truth, predicted), scored(predicted, truth)
    assert set(OTHER_WAY) == set(NAMES)
    assert one == pytest.approx({name: other[OTHER_WAY[name]] for name in NAMES}, nan_ok=True)


def test_pixels_outside_the_fov_never_count():
    truth, predicted = random_pair(1)
    fov = np.zeros_like(truth)
    fov[5:-5, 6:-3] = True
    assert scored(truth, predicted, fov) == pytest.approx(scored(truth ^ ~fov, predicted | ~fov, fov), nan_ok=True)


# degenerate maps


def undefined(named: dict[str, float]) -> set[str]:
    return {name for name, value in named.items() if math.isnan(value)}


DISTANCES = {"hausdorff", "hausdorff_95", "surface_distance"}
RECALLS = {f"recall_{width}" for width in vessel_geometry.WIDTH_CLASSES}
PRECISIONS = {f"precision_{width}" for width in vessel_geometry.WIDTH_CLASSES}


def test_neither_has_a_vessel():
    named = scored(np.zeros((9, 9), bool), np.zeros((9, 9), bool))
    assert undefined(named) == {"cldice"} | RECALLS | PRECISIONS | DISTANCES
    assert (named["betti_0_error"], named["betti_1_error"]) == (0, 0)


def test_empty_prediction_scores_0_where_vessels_are():
    named = scored(widths_field(), np.zeros((540, 540), bool))
    assert undefined(named) == PRECISIONS | DISTANCES
    assert {named[name] for name in RECALLS | {"cldice"}} == {0.0}
    assert named["betti_0_error"] == 3


def test_prediction_scores_0_where_no_vessels_are():
    named = scored(np.zeros((540, 540), bool), widths_field())
    assert undefined(named) == RECALLS | DISTANCES
    assert {named[name] for name in PRECISIONS | {"cldice"}} == {0.0}


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 9)])
def test_full_maps_are_equal_maps(shape):
    named = scored(np.ones(shape, bool), np.ones(shape, bool))
    assert undefined(named) == {f"{score}_{width}" for score in ("recall", "precision") for width in ("thin", "medium")}
    assert (named["cldice"], named["recall_thick"], named["hausdorff"]) == (1.0, 1.0, 0.0)


def test_one_pixel_each():
    named = scored(on_field(np.ones((1, 1), bool), 100, 100), on_field(np.ones((1, 1), bool), 103, 104))
    assert (named["cldice"], named["recall_thin"], named["precision_thin"]) == (0, 0, 0)
    assert {named[name] for name in DISTANCES} == {5.0}


def test_empty_fov_has_no_vessel():
    full, fov = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    assert scored(full, full, fov) == pytest.approx(scored(fov, fov), nan_ok=True)


# rejections


def test_maps_of_different_shapes_are_rejected():
    with pytest.raises(ValueError, match=r"predicted: expected \(9, 9\) like the truth, got \(1, 9\)"):
        scored(np.ones((9, 9), bool), np.ones((1, 9), bool))
