import cv2
import numpy as np
import pytest

from src.common import probability_levels
from src.evaluation import vesselness_filters
from src.metrics import probability_metrics
from src.params import Baselines
from src.preprocessing.normalization import Prepared
from src.synthetic import generator

NAMES = ["frangi", "sato", "matched_filter"]


def disc(side=121, radius=52):
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 <= radius**2


def line(angle, side=121, width=4):
    """A straight line through the centre, (side, side) bool, `angle` in degrees."""
    y, x = np.mgrid[:side, :side] - side // 2
    return np.abs(x * np.sin(np.radians(angle)) - y * np.cos(np.radians(angle))) <= width / 2


def prepared(intensity, fov):
    """The prepared image with these intensities in the FOV, black outside."""
    return Prepared(np.repeat(np.where(fov, intensity, 0).astype(np.uint8)[..., None], 3, axis=2), fov)


def respond(name, image, fov_diameter):
    return vesselness_filters.filter_responses([name], image, fov_diameter)[name]


def vessel_map(name, image, fov, fov_diameter, clahe_clip_limit):
    return vesselness_filters.vessel_maps([name], image, fov, fov_diameter, clahe_clip_limit)[name]


def auc(responses, truths, fovs):
    pairs = zip(responses, truths, fovs, strict=True)
    return probability_metrics.auc_roc(
        sum(
            (probability_metrics.histogram(probability_levels.to_levels(a), t, f) for a, t, f in pairs),
            probability_metrics.EMPTY,
        )
    )


def test_filters_are_those_that_params_allow():
    assert list(vesselness_filters.FILTERS) == NAMES
    assert Baselines(filters=NAMES).filters == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("angle", [0, 15, 37, 45, 82, 90, 120, 157])
def test_filter_responds_to_a_dark_line_of_any_orientation(name, angle):
    fov, vessel = disc(), line(angle)
    response = respond(name, prepared(np.where(vessel, 90, 150), fov), 540)
    away = fov & ~cv2.dilate(vessel.astype(np.uint8), np.ones((25, 25))).astype(bool)
    on = response[line(angle, width=1) & disc(radius=40)]
    assert on.min() > 0.3
    assert on.min() > 10 * response[away].max()


@pytest.mark.parametrize("name", NAMES)
def test_response_is_alike_for_all_orientations(name):
    fov = disc()
    centres = [respond(name, prepared(np.where(line(a), 110, 150), fov), 540)[60, 60] for a in (0, 22, 45, 90)]
    assert max(centres) < 1.25 * min(centres)


@pytest.mark.parametrize("name", NAMES)
def test_response_to_a_bright_line_is_far_smaller_than_to_a_dark_one(name):
    fov, vessel = disc(), line(30)
    bright, dark = (respond(name, prepared(np.where(vessel, on, 120), fov), 540) for on in (170, 70))
    on = line(30, width=1) & disc(radius=40)
    assert bright[on].max() < 0.25 * dark[on].min()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fov_diameter", [130, 540])
def test_added_constant_changes_nothing(name, fov_diameter):
    fov = disc()
    levels = np.where(line(30), 90, 150) + np.random.default_rng(0).integers(-9, 10, fov.shape)
    darker, lighter = (respond(name, prepared(levels + more, fov), fov_diameter) for more in (-40, 40))
    assert np.allclose(darker, lighter, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [30, 128, 250])
@pytest.mark.parametrize("fov_diameter", [130, 540])
def test_filter_does_not_respond_to_the_border_of_a_uniform_fov(name, level, fov_diameter):
    fov = disc()
    assert respond(name, prepared(level, fov), fov_diameter).max() < 2e-3


@pytest.mark.parametrize("name", NAMES)
def test_filter_does_not_respond_to_a_dark_rim(name):
    fov = disc()
    assert respond(name, prepared(np.where(disc(radius=50), 150, 60), fov), 540).max() < 0.02


@pytest.mark.parametrize("fov", [disc(), line(0, width=3), np.eye(121, dtype=bool), np.ones((121, 121), bool)])
def test_fill_keeps_the_inside_and_stays_in_its_range(fov):
    levels = np.random.default_rng(0).normal(0, 30, fov.shape).astype(np.float32)
    filled = vesselness_filters.fill_outside_fov(levels, fov, 1.0)
    inner = fov & disc(radius=40) if fov.sum() > 500 else fov
    assert filled.dtype == np.float32
    assert np.array_equal(filled[inner], levels[inner])
    assert levels[fov].min() - 1e-3 <= filled.min()
    assert filled.max() <= levels[fov].max() + 1e-3


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2])
@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_matched_kernel_is_a_contrast_of_two_means(angle, scale):
    kernel = vesselness_filters.matched_kernel(angle, scale)
    assert kernel.sum() == pytest.approx(0, abs=1e-5)
    assert kernel.clip(0).sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_response_does_not_depend_on_the_scale(name):
    small, large = (
        respond(name, prepared(np.where(line(0, side, width), 100, 150), disc(side, radius)), diameter)
        for side, width, radius, diameter in ((121, 4, 52, 540), (241, 8, 104, 1080))
    )
    assert small[60, 60] == pytest.approx(large[120, 120], rel=0.15)


@pytest.mark.parametrize("name", NAMES)
def test_map_has_the_native_size_and_is_zero_outside_the_fov(name):
    generated = generator.generate(1, 0, 150, 140)
    for fov_diameter in (64, 130, 300):
        response = vessel_map(name, generated.image, generated.fov, fov_diameter, 0.0)
        assert response.shape == (150, 140)
        assert response.dtype == np.float32
        assert 0 <= response.min() < response.max() <= 1
        assert not response[~generated.fov].any()


@pytest.fixture(scope="module")
def generated() -> list[generator.SyntheticImage]:
    """Three images of DRIVE's size."""
    return [generator.generate(2, number, 584, 565) for number in range(3)]


@pytest.mark.parametrize("name", NAMES)
def test_vessels_of_synthetic_images_are_found(name, generated):
    responses = [vessel_map(name, each.image, each.fov, 540, 0.0) for each in generated]
    assert auc(responses, [each.truth for each in generated], [each.fov for each in generated]) > 0.8


def test_unknown_filter_lists_the_known():
    with pytest.raises(ValueError, match="expected some of frangi, sato, matched_filter, got 'gabor'"):
        respond("gabor", prepared(128, disc()), 540)
