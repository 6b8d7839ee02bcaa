import numpy as np
import pytest
from scipy import ndimage

from src.inference.sliding_window import InferenceConfig, Prediction, SlidingWindowPredictor, merge_scales

IMAGE = np.random.default_rng(1).integers(0, 256, (75, 50, 3)).astype(np.uint8)
ASYMMETRIC = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
POINT = np.ones((1, 1))


def predictor(forward, tile=1024, overlap=0, flips=True, batch_size=4, input_size=None) -> SlidingWindowPredictor:
    return SlidingWindowPredictor(forward, input_size, InferenceConfig(tile, overlap, flips, batch_size, (1.0,)))


def network(kernel: np.ndarray, side: int | None = None):
    """One convolution of the red channel and a sigmoid; its input has sides that are multiples of 32, or `side`."""

    def forward(images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.float32
        assert images.shape[3] == 3
        assert set(images.shape[1:3]) == {side} if side else not any(length % 32 for length in images.shape[1:3])
        logit = ndimage.correlate(images[..., 0] / 64.0 - 2.0, kernel[None], mode="constant")
        return (1 / (1 + np.exp(-logit)))[..., None].astype(np.float32)

    return forward


EXPECTED = 1 / (1 + np.exp(-(IMAGE[..., 0] / 64.0 - 2)))


@pytest.mark.parametrize("tile", [32, 64, 96])
@pytest.mark.parametrize("overlap", [0, 16])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_prediction_of_a_pointwise_network_does_not_depend_on_the_tiles(tile, overlap, flips, batch_size):
    probability, uncertainty = predictor(network(POINT), tile, overlap, flips, batch_size).predict(IMAGE)
    assert probability.shape == (75, 50)
    assert probability.dtype == np.float32
    assert np.allclose(probability, EXPECTED, atol=1e-5)
    assert (uncertainty is None) == (not flips)


def test_network_of_fixed_input_size_gets_tiles_of_that_size():
    prediction = predictor(network(POINT, side=48), overlap=16, input_size=48).predict(IMAGE)
    assert np.allclose(prediction.probability, EXPECTED, atol=1e-5)


def test_flips_make_an_asymmetric_network_symmetric():
    square = IMAGE[:32, :32]
    with_flips = predictor(network(ASYMMETRIC))
    flipped = with_flips.predict(np.ascontiguousarray(square[:, ::-1])).probability[:, ::-1]
    assert np.allclose(with_flips.predict(square).probability, flipped, atol=1e-6)
    without = predictor(network(ASYMMETRIC), flips=False)
    flipped = without.predict(square[:, ::-1]).probability[:, ::-1]
    assert not np.allclose(without.predict(square).probability, flipped, atol=1e-2)


def test_overlapping_tiles_hide_their_seams():
    blur = network(np.full((5, 5), 1 / 25))
    whole = predictor(blur, tile=128, flips=False).predict(IMAGE).probability
    error = {}
    for overlap in (0, 16):
        tiled = predictor(blur, tile=32, overlap=overlap, flips=False).predict(IMAGE).probability
        error[overlap] = np.abs(whole - tiled)[4:-20, 4:-20].mean()
    assert error[16] < 0.0005 < error[0]


def test_overlap_is_at_most_half_a_tile_of_fixed_size():
    assert predictor(network(POINT, side=48), overlap=128, input_size=48).stride == 24


def upper_half(images: np.ndarray) -> np.ndarray:
    """A network that outputs 1 in the upper half of its input, and 0 in the lower."""
    output = np.zeros((*images.shape[:3], 1), np.float32)
    output[:, : images.shape[1] // 2] = 1
    return output


@pytest.mark.parametrize("batch_size", [1, 4])
def test_uncertainty_is_one_where_half_of_the_flips_output_one_and_half_zero(batch_size):
    probability, uncertainty = predictor(upper_half, batch_size=batch_size).predict(IMAGE[:32, :32])
    assert np.array_equal(probability, np.full((32, 32), 0.5))
    assert np.array_equal(uncertainty, np.ones((32, 32)))


@pytest.mark.parametrize("tile", [32, 96])
def test_uncertainty_is_zero_where_all_flips_agree(tile):
    uncertainty = predictor(network(POINT), tile, overlap=16).predict(IMAGE).uncertainty
    assert uncertainty.shape == (75, 50)
    assert uncertainty.max() < 1e-6


def test_uncertainty_is_twice_the_standard_deviation_of_the_outputs():
    outputs = iter([0.1, 0.2, 0.6, 0.9])
    probability, uncertainty = predictor(
        lambda images: np.full((*images.shape[:3], 1), next(outputs), np.float32), tile=32, batch_size=1
    ).predict(IMAGE[:32, :32])
    assert np.allclose(probability, 0.45)
    assert np.allclose(uncertainty, 2 * np.sqrt((0.35**2 + 0.25**2 + 0.15**2 + 0.45**2) / 4))


def test_apply_changes_both_maps_and_a_missing_uncertainty_stays_missing():
    half = np.full((2, 2), 0.5, np.float32)
    assert np.array_equal(Prediction(half, 2 * half).apply(lambda array: array + 1).uncertainty, np.full((2, 2), 2.0))
    assert Prediction(half, None).apply(lambda array: array + 1).uncertainty is None


def test_merged_scales_have_mean_and_uncertainty_of_all_augmentations():
    outputs = np.random.default_rng(1).random((3, 4, 5, 6), np.float32)  # three scales, four flips
    predictions = [Prediction(of_scale.mean(axis=0), 2 * of_scale.std(axis=0)) for of_scale in outputs]
    pooled = outputs.reshape(12, 5, 6)
    probability, uncertainty = merge_scales(predictions)
    assert np.allclose(probability, pooled.mean(axis=0), atol=1e-6)
    assert np.allclose(uncertainty, 2 * pooled.std(axis=0), atol=1e-6)


def test_scales_are_weighted():
    outputs = np.random.default_rng(1).random((2, 4, 5, 6), np.float32)  # two scales, four flips
    predictions = [Prediction(of_scale.mean(axis=0), 2 * of_scale.std(axis=0)) for of_scale in outputs]
    repeated = np.concatenate([outputs[0], outputs[0], outputs[0], outputs[1]])
    probability, uncertainty = merge_scales(predictions, np.float32([0.75, 0.25]))
    assert probability.dtype == uncertainty.dtype == np.float32
    assert np.allclose(probability, repeated.mean(axis=0), atol=1e-6)
    assert np.allclose(uncertainty, 2 * repeated.std(axis=0), atol=1e-6)


def test_a_single_scale_is_not_changed_by_merging():
    probability = np.full((2, 2), 0.25, np.float32)
    single = Prediction(probability, np.float32([[0.1, 0.2], [0.3, 0.4]]))
    assert np.array_equal(merge_scales([single]).probability, probability)
    assert np.array_equal(merge_scales([single]).uncertainty, single.uncertainty)


def test_merged_scales_without_flips_have_the_uncertainty_of_the_scales():
    low, high = (Prediction(np.full((2, 2), value, np.float32), None) for value in (0.2, 0.6))
    merged = merge_scales([low, high])
    np.testing.assert_allclose(merged.probability, 0.4, atol=1e-6)
    np.testing.assert_allclose(merged.uncertainty, 0.4, atol=1e-6)
    assert merge_scales([low]).uncertainty is None


def test_merged_uncertainty_is_at_most_one():
    one = np.ones((2, 2), np.float32)  # with a probability of .6 after resizing only
    predictions = [Prediction(np.full((2, 2), value, np.float32), one) for value in (0.5, 0.6)]
    assert merge_scales(predictions).uncertainty.max() == 1
