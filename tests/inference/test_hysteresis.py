import numpy as np
import pytest
from scipy import ndimage

from src.common import probability_levels
from src.inference import hysteresis

FAINT, CERTAIN, BACKGROUND = 0.35, 0.7, 0.02


def noise() -> np.ndarray:
    """Probabilities of all sizes beside each other, (60, 80), within a margin of zeros."""
    probability = np.random.default_rng(1).beta(0.3, 1.5, (60, 80)).astype(np.float32)
    return np.pad(probability[5:55, 10:70], ((5, 5), (10, 10)))


def vessels(scale: int, *widths: int) -> tuple[np.ndarray, np.ndarray]:
    """Vessels of some widths, one below the other, whose right half is faint, in an FOV of 540 pixels times `scale`.

    They begin at row 100, 200, ... before scaling. The image is 600 pixels wide.
    """
    probability = np.full((600, 600), BACKGROUND, np.float32)
    for row, width in enumerate(widths, 1):
        probability[100 * row : 100 * row + width, 50:270] = CERTAIN
        probability[100 * row : 100 * row + width, 270:490] = FAINT
    fov = np.zeros(probability.shape, bool)
    fov[30:570, 30:570] = True
    return tuple(each.repeat(scale, 0).repeat(scale, 1) for each in (probability, fov))


@pytest.mark.parametrize("scale", [1, 3])
def test_faint_end_of_a_thin_vessel_is_extended_and_no_other_vessel(scale):
    probability, fov = vessels(scale, 1, 2, 3, 9)
    probability[500 * scale, 50 * scale : 490 * scale] = FAINT  # continues none
    found = hysteresis.extend_thin_vessels(probability, fov, 1.0)
    assert found.dtype == np.float32
    thin_ends = np.zeros_like(fov)
    for row, width in ((100, 1), (200, 2)):
        thin_ends[row * scale : (row + width) * scale, 270 * scale : 490 * scale] = True
    assert np.allclose(found[thin_ends], 1 / (1 + (1 - FAINT) / FAINT * np.exp(-1)))
    assert np.array_equal(found > 0.5, (probability > 0.5) | thin_ends)
    assert np.array_equal(found[~thin_ends], probability[~thin_ends])


def test_thin_vessel_rises_no_higher_than_the_one_that_it_continues():
    probability, fov = vessels(1, 1)
    probability[300, 50:490] = FAINT
    found = hysteresis.extend_thin_vessels(probability, fov, 5.0)
    assert found[100, 270:490].max() == pytest.approx(CERTAIN, abs=1e-6)
    assert found[300].max() == pytest.approx(FAINT, abs=1e-6)


def test_thin_vessel_rises_by_no_more_than_it_exceeds_its_surroundings():
    probability, fov = vessels(1, 1)
    probability[probability == BACKGROUND] = 0.3
    found = hysteresis.extend_thin_vessels(probability, fov, 5.0)
    rise = np.log(FAINT / (1 - FAINT)) - np.log(0.3 / 0.7)
    assert np.allclose(found[100, 275:480], 1 / (1 + (1 - FAINT) / FAINT * np.exp(-rise)))


def test_border_of_a_wide_vessel_is_not_extended():
    probability, fov = vessels(1, 9)
    probability[[99, 109], 50:490] = FAINT
    assert np.array_equal(hysteresis.extend_thin_vessels(probability, fov, 1.0), probability)


def test_thin_vessel_that_is_faint_where_it_leaves_a_wide_one_is_not_reached():
    probability, fov = vessels(1, 9)
    probability[109:200, 150] = FAINT
    assert np.array_equal(hysteresis.extend_thin_vessels(probability, fov, 1.0), probability)


def test_map_that_is_no_number_ends():
    probability, fov = vessels(1, 1)
    probability[300, 300] = np.nan
    assert np.isnan(hysteresis.extend_thin_vessels(probability, fov, 1.0)).any()


@pytest.mark.parametrize("limit", [0.0, 0.5, 2.0])
def test_extension_lowers_nothing_and_raises_logits_by_its_limit_at_most(limit):
    probability = noise()
    found = hysteresis.extend_thin_vessels(probability, np.ones(probability.shape, bool), limit)
    assert (found >= probability).all()
    before, after = (np.clip(each, 1e-4, 1 - 1e-4).astype(float) for each in (probability, found))
    rise = np.log(after / (1 - after)) - np.log(before / (1 - before))
    assert rise.max() <= limit + 1e-2
    assert (rise.max() > 0.1) == (limit > 0)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_extended_vessels_are_joined_to_one_above_the_threshold(threshold):
    probability = noise()
    found = hysteresis.extend_thin_vessels(probability, np.ones(probability.shape, bool), 1.0) > threshold
    areas, number = ndimage.label(found, structure=np.ones((3, 3)))
    assert (ndimage.maximum(probability, areas, np.arange(1, number + 1)) > threshold).all()
    assert found.sum() > (probability > threshold).sum()


def test_extension_at_the_limits_of_probability():
    probability = np.zeros((20, 20), np.float32)
    probability[10] = 1
    found = hysteresis.extend_thin_vessels(probability, probability == 0, 1.0)
    assert np.array_equal(found, probability)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.7])
def test_at_a_threshold_alone_only_pixels_that_change_sides_are_changed(threshold):
    probability = noise()
    extended = hysteresis.extend_thin_vessels(probability, np.ones(probability.shape, bool), 1.0)
    changed = hysteresis.lower_isolated_pieces(extended, 0.75)
    found = hysteresis.at_threshold(probability, changed, threshold)
    assert found.dtype == np.float32
    vessels, before = found > threshold, probability > threshold
    assert np.array_equal(vessels, changed > threshold)
    assert np.array_equal(found[vessels == before], probability[vessels == before])
    for side in (vessels & ~before, before & ~vessels):
        assert side.any()
        assert np.allclose(np.abs(found[side] - threshold), hysteresis.MARGIN, atol=1e-6)


@pytest.mark.parametrize("threshold", [1e-5, 0.25, 1 / 3, 0.5, 32767 / 65535, 1 - 1e-4])
def test_sides_of_a_threshold_are_those_of_16_bit_levels(threshold):
    levels = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    probability = (levels / np.float32(65535)).astype(np.float32)
    found = hysteresis.at_threshold(probability, 1 - probability, threshold)
    assert found.dtype == np.float32
    vessels = probability_levels.above(probability_levels.to_levels(found), threshold)
    assert np.array_equal(vessels, probability_levels.above(levels[::-1, ::-1], threshold))


@pytest.mark.parametrize("threshold", [hysteresis.HYSTERESIS_FLOOR, 0.1, 0.3, 0.5, 0.69, 0.8])
def test_vessels_after_hysteresis_are_the_areas_that_hold_a_pixel_above_its_threshold(threshold):
    probability = noise()
    areas, number = ndimage.label(probability > threshold, structure=np.ones((3, 3)))
    certain = ndimage.maximum(probability, areas, np.arange(number + 1)) > 0.7
    found = hysteresis.lower_isolated_pieces(probability, 0.7)
    assert found.dtype == np.float32
    assert (found <= probability).all()
    expected = (areas > 0) & (certain[areas] | (probability > 0.7))
    assert np.array_equal(found > threshold, expected)
    assert (expected.sum() < (areas > 0).sum()) == (hysteresis.HYSTERESIS_FLOOR < threshold < 0.7)


def test_map_without_a_pixel_above_the_hysteresis_threshold_has_no_vessels():
    found = hysteresis.lower_isolated_pieces(noise() * np.float32(0.5), 0.7)
    assert not probability_levels.above(probability_levels.to_levels(found), hysteresis.HYSTERESIS_FLOOR).any()


@pytest.mark.parametrize(("level", "vessels"), [(49152, True), (49151, False)])  # 49151 / 65535 is below 0.75
def test_pixel_at_the_hysteresis_threshold_is_told_by_its_16_bit_level(level, vessels):
    probability = np.full((3, 3), 0.5, np.float32)
    probability[1, 1] = level / 65535
    assert (hysteresis.lower_isolated_pieces(probability, 0.75) > 0.4).all() == vessels


def test_reconstruction_follows_a_path_of_eight_neighbours():
    limit = np.eye(6, dtype=np.float32)
    limit[3, 3] = 0.5
    start = np.zeros_like(limit)
    start[0, 0] = 1
    found = hysteresis.reconstruct(start, limit)
    assert np.array_equal(found, np.diag(np.float32([1, 1, 1, 0.5, 0.5, 0.5])))
