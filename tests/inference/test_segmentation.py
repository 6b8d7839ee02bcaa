import numpy as np
import pytest

from src.common import probability_levels
from src.inference import hysteresis, segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.preprocessing import normalization

IMAGE = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
FOV = np.zeros((60, 80), bool)
FOV[5:55, 10:70] = True  # 60 pixels wide


def segment(*scales: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs of a network for the image at a FOV of 30 pixels, and the probability; it outputs 1/4, 2/4, ..."""
    inputs = []

    def forward(images: np.ndarray) -> np.ndarray:
        inputs.append(images)
        return np.full((*images.shape[:3], 1), len(inputs) / 4, np.float32)

    predictor = SlidingWindowPredictor(forward, None, InferenceConfig(1024, 0, False, 4, scales))
    return inputs, segmentation.segment_image(IMAGE, FOV, predictor, fov_diameter=30, clahe_clip_limit=0.0).probability


def test_each_scale_is_resampled_from_the_native_image():
    inputs, probability = segment(1.0, 2.0, 4.0)
    assert [images.shape for images in inputs] == [(1, 32, 64, 3), (1, 64, 96, 3), (1, 128, 160, 3)]  # multiples of 32
    assert np.array_equal(inputs[1][0, :60, :80], normalization.standardize(IMAGE, FOV))  # 60 pixels: not resampled
    assert probability.shape == FOV.shape
    assert np.allclose(probability[FOV], (1 / 4 + 2 / 4 + 3 / 4) / 3)
    assert not probability[~FOV].any()


def test_single_scale_need_not_be_one():
    inputs, _ = segment(0.5)
    assert [images.shape for images in inputs] == [(1, 32, 32, 3)]


@pytest.mark.parametrize(
    ("least", "expected"),
    [
        (1.0, [30, 60, 120]),  # off
        (0.9, [27, 54, 108]),  # the resolution is too low: still enlarged
        (0.2, [15, 30, 60]),  # the largest is the image itself, 60 pixels
    ],
)
def test_largest_scale_does_not_enlarge_the_image_by_more_than_the_factor_allows(least, expected):
    assert segmentation.input_diameters([30.0, 60.0, 120.0], FOV, least) == expected
    assert segmentation.input_diameters([10.0, 50.0], FOV, least) == [10, 50]
    config, widths = InferenceConfig(1024, 0, False, 1, (1.0, 2.0, 4.0), min_scale_factor=least), []

    def forward(images: np.ndarray) -> np.ndarray:
        widths.append(images.shape[2])
        return np.full((*images.shape[:3], 1), 0.5, np.float32)

    segmentation.segment_image(IMAGE, FOV, SlidingWindowPredictor(forward, None, config), 30, 0.0)
    assert widths == [-(-diameter * 80 // 60 // 32) * 32 for diameter in expected]  # the image is 80 pixels wide


@pytest.mark.parametrize("order", [1, -1])
def test_surer_prediction_has_more_weight(order):
    sure, vague = FOV * np.float32(1), FOV * np.float32(0.5)
    sure[20:], vague[20:] = 0, 0
    weights = segmentation.scale_weights([sure, vague][::order], FOV)[::order]
    assert weights.dtype == np.float32
    difference = (1 - 2 * 0.5 / 1.5) / segmentation.WEIGHT_TEMPERATURE  # of the expected F1
    assert np.allclose(weights, [1 / (1 + np.exp(-difference)), 1 / (1 + np.exp(difference))])
    assert np.allclose(segmentation.scale_weights([vague, vague, vague], FOV), 1 / 3)


def test_map_without_vessels_has_no_weight_beside_one_with_vessels():
    empty = np.zeros(FOV.shape, np.float32)
    assert segmentation.scale_weights([empty, FOV * np.float32(0.9)], FOV)[0] < 1e-6
    assert np.allclose(segmentation.scale_weights([empty, empty], FOV), 0.5)


def test_scales_are_weighted_where_the_configuration_says_so():
    outputs = iter([0.9, 0.6] * 2)

    def forward(images: np.ndarray) -> np.ndarray:
        return np.full((*images.shape[:3], 1), next(outputs), np.float32)

    maps = []
    for weighting in (False, True):
        config = InferenceConfig(1024, 0, False, 1, (1.0, 2.0), scale_weighting=weighting)
        predictor = SlidingWindowPredictor(forward, None, config)
        maps.append(segmentation.segment_image(IMAGE, FOV, predictor, 30, 0.0).probability)
    singles = [FOV * np.float32(0.9), FOV * np.float32(0.6)]
    first, second = segmentation.scale_weights(singles, FOV)
    assert np.allclose(maps[0][FOV], 0.75)
    assert np.allclose(maps[1][FOV], 0.9 * first + 0.6 * second)
    assert first > second


def faint_vessels(odds: float) -> np.ndarray:
    """Probabilities, (60, 80), whose odds are too low or too high by one factor."""
    right = np.random.default_rng(1).beta(0.3, 1.5, FOV.shape)
    return np.where(FOV, odds * right / (odds * right + 1 - right), 0).astype(np.float32)


@pytest.mark.parametrize("odds", [0.5, 1.0, 2.0])
def test_adjusted_map_at_half_is_the_map_at_its_own_threshold(odds):
    probability = faint_vessels(odds)
    adjusted = segmentation.adjust_logits(probability, FOV)
    assert adjusted.dtype == np.float32
    assert not adjusted[~FOV].any()
    levels = probability_levels.to_levels(probability[FOV])
    own = probability_metrics.expected_f1_threshold(np.bincount(levels, minlength=probability_levels.LEVELS))
    changed = (adjusted > 0.5) != (probability > own)
    assert changed.sum() <= 1  # a pixel at the threshold
    order = np.argsort(probability[FOV], kind="stable")
    assert (np.diff(adjusted[FOV][order]) >= 0).all()
    assert adjusted.min() >= 0
    assert adjusted.max() <= 1


@pytest.mark.parametrize("level", [0.0, 0.01, 1.0])
def test_adjustment_is_limited_so_that_noise_is_no_vessel(level):
    noise = (level * np.random.default_rng(1).random(FOV.shape)).astype(np.float32)
    noise[~FOV] = 0
    adjusted = segmentation.adjust_logits(noise, FOV)
    assert np.isfinite(adjusted).all()
    if level < 0.25:
        assert not (adjusted > 0.5).any()


def test_logits_are_adjusted_where_the_configuration_says_so():
    def forward(images: np.ndarray) -> np.ndarray:
        return np.linspace(0, 0.4, images.size // 3, dtype=np.float32).reshape(*images.shape[:3], 1)

    maps = []
    for adjustment in (False, True):
        predictor = SlidingWindowPredictor(forward, None, InferenceConfig(1024, 0, False, 1, (1.0,), adjustment))
        maps.append(segmentation.segment_image(IMAGE, FOV, predictor, 30, 0.0).probability)
    assert np.allclose(maps[1], segmentation.adjust_logits(maps[0], FOV))
    assert not np.allclose(*maps)


def test_hysteresis_follows_extended_vessels_and_these_adjusted_logits():
    def forward(images: np.ndarray) -> np.ndarray:
        return np.float32(0.6) * images[..., :1] / 255

    maps = []
    changes: dict[str, float] = {}
    for name, value in ((None, 0), ("thin_vessel_extension", 0.5), ("hysteresis_threshold", 0.6), ("threshold", 0.55)):
        changes |= {name: value} if name else {}
        config = InferenceConfig(1024, 0, False, 1, (1.0,), logit_adjustment=True, **changes)
        predictor = SlidingWindowPredictor(forward, None, config)
        maps.append(segmentation.segment_image(IMAGE, FOV, predictor, 30, 0.0).probability)
    assert np.array_equal(maps[1], hysteresis.extend_thin_vessels(maps[0], FOV, 0.5))
    assert np.array_equal(maps[2], hysteresis.lower_isolated_pieces(maps[1], 0.6))
    assert np.array_equal(maps[3], hysteresis.at_threshold(maps[0], maps[2], 0.55))
    for number, each in enumerate(maps):
        assert all((each != earlier).any() for earlier in maps[:number])
