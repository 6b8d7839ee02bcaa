import math

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial import cKDTree
from scipy.spatial.distance import directed_hausdorff
from skimage.measure import euler_number
from skimage.metrics import hausdorff_distance
from skimage.morphology import skeletonize

from src import structure

LIMITS = (2.5, 5.5)
BOTH = np.ones((3, 3))  # neighbours, with those at the corners
NAMES = [
    "cldice",
    *(f"{score}_{width}" for score in ("recall", "precision") for width in ("thin", "middle", "thick")),
    *("hausdorff", "hausdorff_95", "surface_distance", "betti_0_error", "betti_1_error"),
]


def drawn(*rows: str) -> np.ndarray:
    return np.array([[pixel != "." for pixel in row] for row in rows])


def field(side: int = 540) -> np.ndarray:
    """A FOV in which a pixel is a pixel."""
    return np.ones((side, side), bool)


def on_field(picture: np.ndarray, row: int = 50, column: int = 50) -> np.ndarray:
    whole = np.zeros((540, 540), bool)
    whole[row : row + picture.shape[0], column : column + picture.shape[1]] = picture
    return whole


def described(picture: np.ndarray, fov: np.ndarray | None = None) -> structure.Drawing:
    return structure.describe(picture, np.ones_like(picture) if fov is None else fov, LIMITS)


def scored(truth: np.ndarray, predicted: np.ndarray, fov: np.ndarray | None = None) -> dict[str, float]:
    return structure.scores(described(truth, fov), described(predicted, fov))


def random_map(seed: int) -> np.ndarray:
    """Noise, blobs or lines, of odd shape."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(20, 80, 2))
    noise = rng.random(shape)
    if seed % 3 == 0:
        return noise < rng.uniform(0.02, 0.6)
    smooth = ndimage.gaussian_filter(noise, rng.uniform(1, 3))
    if seed % 3 == 1:
        return smooth > np.quantile(smooth, rng.uniform(0.5, 0.95))
    return np.abs(smooth - np.median(smooth)) < np.quantile(np.abs(smooth - np.median(smooth)), rng.uniform(0.1, 0.3))


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = random_map(seed)
    return truth, np.roll(truth, (1, 2), (0, 1)) ^ (np.random.default_rng(seed + 1000).random(truth.shape) < 0.05)


def bar(width: float, degrees: float, side: int = 161) -> np.ndarray:
    """A straight bar through the middle, 120 pixels long."""
    y, x = np.mgrid[:side, :side] - side // 2 + 0.0
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    across, along = x * sine - y * cosine, x * cosine + y * sine
    return (-width / 2 <= across) & (across < width / 2) & (np.abs(along) < 60)


# names


def test_scores_have_their_names_in_order():
    assert list(scored(bar(3, 0), bar(5, 0))) == NAMES


def test_scores_are_plain_floats():
    assert {type(value) for value in scored(bar(3, 0), bar(5, 0)).values()} == {float}


# centreline Dice


def test_cldice_of_a_line_that_goes_astray():
    # of the truth's 9 pixels the prediction has 6; of its own 8 pixels 2 lie beside
    truth = drawn(".........", "#########", ".........")
    predicted = drawn("......##.", "######...", ".........")
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


def test_cldice_forgives_a_wider_drawing():
    assert scored(bar(3, 0), bar(5, 0))["cldice"] == 1.0


# widths


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("turn", [np.asarray, np.transpose])
def test_width_of_an_upright_bar_is_exact(width, turn):
    vessels = turn(np.ones((width, 60), bool))
    line = skeletonize(vessels)
    middle = np.maximum(*np.indices(vessels.shape))[line]
    measured = structure.widths(vessels, line)
    assert set(measured[(middle > 10) & (middle < 50)]) == {width}


@pytest.mark.parametrize("width", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("degrees", range(15, 180, 15))
def test_width_of_a_slanting_bar_is_its_area_by_its_length(width, degrees):
    vessels = bar(width, degrees)
    line = skeletonize(vessels)
    y, x = np.nonzero(line)
    inner = np.hypot(x - 80, y - 80) < 50
    assert structure.widths(vessels, line)[inner].mean() == pytest.approx(vessels.sum() / 120, abs=0.6)


@pytest.mark.parametrize(("offset", "width"), [(0, 1), (1, math.sqrt(2))])
def test_width_of_a_diagonal_by_hand(offset, width):
    # pixels touching at corners, and a stair of steps of one: half a square of side 2 is sqrt(2) deep
    vessels = np.eye(30, dtype=bool) | np.eye(30, k=offset, dtype=bool)
    line = np.eye(30, dtype=bool)
    assert structure.widths(vessels, line)[5:25] == pytest.approx(np.full(20, width))


def widths_field() -> np.ndarray:
    """Bars of 2, 4 and 8 pixels across a field, apart."""
    whole = np.zeros((540, 540), bool)
    for row, width in ((100, 2), (200, 4), (300, 8)):
        whole[row : row + width, 20:520] = True
    return whole


def test_recall_by_width_by_hand():
    truth = widths_field()
    predicted = truth.copy()
    predicted[100, :] = False  # one row of two
    predicted[200, :] = False  # one of four
    predicted[300:308, 100:200] = False  # 100 columns of 500
    named = scored(truth, predicted)
    assert [named[f"recall_{width}"] for width in structure.WIDTHS] == pytest.approx([1 / 2, 3 / 4, 4 / 5])


def test_precision_by_width_by_hand():
    predicted = widths_field()
    truth = predicted.copy()
    truth[101, :] = False
    truth[200:203, :] = False
    truth[304, :] = False
    named = scored(truth, predicted)
    assert [named[f"precision_{width}"] for width in structure.WIDTHS] == pytest.approx([1 / 2, 1 / 4, 7 / 8])


def test_precision_goes_by_the_predicted_width():
    named = scored(on_field(np.ones((8, 100), bool)), on_field(np.ones((2, 100), bool)))
    assert named["precision_thin"] == 1.0
    assert math.isnan(named["precision_thick"])
    assert named["recall_thick"] == pytest.approx(2 / 8)
    assert math.isnan(named["recall_thin"])


@pytest.mark.parametrize(("times", "place"), [(1, 1), (2, 0), (4, 0)])
def test_width_is_measured_by_the_diameter_of_the_fov(times, place):
    vessels = np.zeros((540 * times, 540 * times), bool)
    vessels[100:104, 100:300] = True
    found = described(vessels).width_class[101, 200]
    assert found == place


def test_a_width_at_the_limit_is_of_the_wider_class():
    vessels = on_field(np.ones((3, 100), bool))
    assert structure.describe(vessels, field(), (3, 6)).width_class[51, 100] == 1


@pytest.mark.parametrize("seed", range(12))
def test_width_class_is_that_of_the_nearest_centreline(seed):
    vessels = random_map(seed)
    limits = (1.5 * 540 / max(vessels.shape), 2.5 * 540 / max(vessels.shape))
    d = structure.describe(vessels, np.ones_like(vessels), limits)
    at_line = np.digitize(structure.widths(vessels, d.centreline), (1.5, 2.5))
    points, pixels = np.argwhere(d.centreline), np.argwhere(vessels)
    squared = ((pixels[:, None] - points[None]) ** 2).sum(axis=2)
    nearest = squared == squared.min(axis=1, keepdims=True)
    expected = np.where(nearest, at_line, 9).min(axis=1)  # among equals the thinner
    assert np.array_equal(d.width_class[vessels], expected)
    assert (d.width_class[~vessels] == -1).all()


@pytest.mark.parametrize("seed", range(30))
def test_every_piece_keeps_a_centreline(seed):
    vessels = random_map(seed)
    labels, pieces = ndimage.label(vessels, BOTH)
    assert len(np.unique(labels[skeletonize(vessels)])) == pieces


# distances


def test_boundary_of_a_drawn_block():
    block = drawn(".....", ".####", ".####", ".####", "....#")
    edge = drawn(".....", ".####", ".#..#", ".####", "....#")
    assert np.array_equal(structure.boundary(block), edge)


@pytest.mark.parametrize("seed", range(6))
def test_boundary_is_what_erosion_takes(seed):
    vessels = random_map(seed)
    assert np.array_equal(structure.boundary(vessels), vessels & ~ndimage.binary_erosion(vessels))


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


# connections


PICTURES = {
    "empty": (drawn("...", "...", "..."), 0, 0),
    "full": (drawn("###", "###", "###"), 1, 0),
    "one pixel": (drawn("...", ".#.", "..."), 1, 0),
    "ring": (drawn("###", "#.#", "###"), 1, 1),
    "ring of corners": (drawn(".#.", "#.#", ".#."), 1, 1),
    "open at the edge": (drawn("###", "#.#", "#.#"), 1, 0),
    "across the corner": (drawn("#.#", "...", "#.#"), 4, 0),
    "two holes that touch": (drawn("####", "#.##", "##.#", "####"), 1, 2),
    "piece in a ring": (drawn("#####", "#...#", "#.#.#", "#...#", "#####"), 2, 1),
}


@pytest.mark.parametrize("name", PICTURES)
def test_components_and_loops_of_a_drawn_picture(name):
    picture, pieces, holes = PICTURES[name]
    assert (structure.components(picture), structure.loops(picture)) == (pieces, holes)


@pytest.mark.parametrize("seed", range(12))
def test_components_and_loops_agree_with_scipy_and_scikit_image(seed):
    vessels = random_map(seed)
    pieces = ndimage.label(vessels, BOTH)[1]
    assert structure.components(vessels) == pieces
    assert structure.loops(vessels) == pieces - euler_number(vessels, connectivity=2)


def test_betti_errors_by_hand():
    named = scored(PICTURES["piece in a ring"][0], np.eye(5, dtype=bool))
    assert (named["betti_0_error"], named["betti_1_error"]) == (1, 1)


def test_a_ring_cut_by_the_fov_is_no_loop():
    ring, fov = np.ones((9, 9), bool), np.ones((9, 9), bool)
    ring[1:-1, 1:-1] = False
    fov[:, 6:] = False
    assert (described(ring).loops, described(ring, fov).loops) == (1, 0)


# laws


def test_equal_maps_are_perfect():
    named = scored(widths_field(), widths_field())
    assert list(named.values()) == [1.0] * 7 + [0.0] * 5


OTHER_WAY = {name: name for name in NAMES if not name.startswith(("recall", "precision"))} | {
    f"{a}_{width}": f"{b}_{width}"
    for a, b in (("recall", "precision"), ("precision", "recall"))
    for width in structure.WIDTHS
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


def test_drawings_are_left_as_they_were():
    truth, fov = random_map(1), random_map(1) | True
    described(truth, fov)
    assert np.array_equal(truth, random_map(1))


# degenerate maps


def undefined(named: dict[str, float]) -> set[str]:
    return {name for name, value in named.items() if math.isnan(value)}


DISTANCES = {"hausdorff", "hausdorff_95", "surface_distance"}
RECALLS = {f"recall_{width}" for width in structure.WIDTHS}
PRECISIONS = {f"precision_{width}" for width in structure.WIDTHS}


def test_neither_has_a_vessel():
    named = scored(np.zeros((9, 9), bool), np.zeros((9, 9), bool))
    assert undefined(named) == {"cldice"} | RECALLS | PRECISIONS | DISTANCES
    assert (named["betti_0_error"], named["betti_1_error"]) == (0, 0)


def test_empty_prediction_scores_0_where_vessels_are():
    named = scored(widths_field(), np.zeros((540, 540), bool))
    assert undefined(named) == PRECISIONS | DISTANCES
    assert {named[name] for name in RECALLS | {"cldice"}} == {0.0}
    assert named["betti_0_error"] == 3


def test_prediction_without_truth_scores_0():
    named = scored(np.zeros((540, 540), bool), widths_field())
    assert undefined(named) == RECALLS | DISTANCES
    assert {named[name] for name in PRECISIONS | {"cldice"}} == {0.0}


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (9, 9)])
def test_full_maps_are_equal_maps(shape):
    named = scored(np.ones(shape, bool), np.ones(shape, bool))
    assert undefined(named) == {f"{score}_{width}" for score in ("recall", "precision") for width in ("thin", "middle")}
    assert (named["cldice"], named["recall_thick"], named["hausdorff"]) == (1.0, 1.0, 0.0)


def test_one_pixel_each():
    named = scored(on_field(np.ones((1, 1), bool), 100, 100), on_field(np.ones((1, 1), bool), 103, 104))
    assert (named["cldice"], named["recall_thin"], named["precision_thin"]) == (0, 0, 0)
    assert {named[name] for name in DISTANCES} == {5.0}


def test_empty_fov_has_no_vessel():
    full, fov = np.ones((9, 9), bool), np.zeros((9, 9), bool)
    assert scored(full, full, fov) == pytest.approx(scored(fov, fov), nan_ok=True)


@pytest.mark.parametrize("place", [(slice(3, 9), slice(2, 6)), (slice(2, 6), slice(3, 9))])
def test_diameter_is_the_larger_side(place):
    fov = np.zeros((12, 12), bool)
    fov[place] = True
    assert structure.diameter(fov) == 6


# refusals


@pytest.mark.parametrize("wrong", [np.zeros((9, 9)), np.zeros((9, 8), bool), np.zeros((9, 9, 1), bool)])
def test_other_types_and_shapes_are_refused(wrong):
    with pytest.raises(ValueError, match=r"drawing: expected bool of shape \(9, 9\), got"):
        structure.describe(wrong, np.ones((9, 9), bool), LIMITS)


@pytest.mark.parametrize("limits", [(5, 2), (3, 3), (0, 2), (math.nan, 2)])
def test_limits_that_do_not_rise_are_refused(limits):
    with pytest.raises(ValueError, match="limits: expected two widths that rise from above 0"):
        structure.describe(np.ones((9, 9), bool), np.ones((9, 9), bool), limits)


def test_drawings_of_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"predicted: expected \(9, 9\) like the truth, got \(1, 9\)"):
        scored(np.ones((9, 9), bool), np.ones((1, 9), bool))
