import numpy as np
import pytest
from scipy import ndimage

from src.predictor import Maps, Predictor, Views, mean

IMAGE = np.random.default_rng(1).integers(0, 256, (75, 50, 3)).astype(np.uint8)
LOPSIDED = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
POINT = np.ones((1, 1))


def network(kernel: np.ndarray, side: int | None = None):
    """One convolution of the red channel and a sigmoid, which takes sides that are multiples of 32, or `side`."""

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
def test_pointwise_network_gives_the_same_map_however_it_is_cut(tile, overlap, flips, batch_size):
    probability, doubt = Predictor(network(POINT), None, Views(tile, overlap, flips, batch_size, (1.0,))).maps(IMAGE)
    assert probability.shape == (75, 50)
    assert probability.dtype == np.float32
    assert np.allclose(probability, EXPECTED, atol=1e-5)
    assert (doubt is None) == (not flips)


def test_network_of_fixed_size_takes_tiles_of_that_size():
    maps = Predictor(network(POINT, side=48), 48, Views(1024, 16, True, 4, (1.0,))).maps(IMAGE)
    assert np.allclose(maps.probability, EXPECTED, atol=1e-5)


def test_flips_make_a_lopsided_network_symmetric():
    predictor = Predictor(network(LOPSIDED), None, Views(1024, 0, True, 4, (1.0,)))
    square = IMAGE[:32, :32]
    flipped = predictor.maps(np.ascontiguousarray(square[:, ::-1])).probability[:, ::-1]
    assert np.allclose(predictor.maps(square).probability, flipped, atol=1e-6)
    alone = Predictor(network(LOPSIDED), None, Views(1024, 0, False, 4, (1.0,)))
    mirrored = alone.maps(square[:, ::-1]).probability[:, ::-1]
    assert not np.allclose(alone.maps(square).probability, mirrored, atol=1e-2)


def test_overlapping_tiles_hide_their_seams():
    blur = np.full((5, 5), 1 / 25)
    whole = Predictor(network(blur), None, Views(128, 0, False, 1, (1.0,))).maps(IMAGE).probability
    error = {}
    for overlap in (0, 16):
        tiled = Predictor(network(blur), None, Views(32, overlap, False, 1, (1.0,))).maps(IMAGE).probability
        error[overlap] = np.abs(whole - tiled)[4:-20, 4:-20].mean()
    assert error[16] < 0.0005 < error[0]


def test_overlap_larger_than_a_fixed_tile_does_not_stop_the_tiling():
    predictor = Predictor(network(POINT, side=48), 48, Views(1024, 128, False, 4, (1.0,)))
    assert predictor.stride == 24


def sure(images: np.ndarray) -> np.ndarray:
    """A network that sees a vessel wherever the upper half of what it is shown is, and none in the lower."""
    answer = np.zeros((*images.shape[:3], 1), np.float32)
    answer[:, : images.shape[1] // 2] = 1
    return answer


@pytest.mark.parametrize("batch_size", [1, 4])
def test_doubt_is_one_where_half_of_the_flips_are_sure_of_a_vessel_and_half_of_none(batch_size):
    probability, doubt = Predictor(sure, None, Views(64, 0, True, batch_size, (1.0,))).maps(IMAGE[:32, :32])
    assert np.array_equal(probability, np.full((32, 32), 0.5))
    assert np.array_equal(doubt, np.ones((32, 32)))


@pytest.mark.parametrize("tile", [32, 96])
def test_doubt_is_nothing_where_all_flips_agree(tile):
    doubt = Predictor(network(POINT), None, Views(tile, 16, True, 4, (1.0,))).maps(IMAGE).doubt
    assert doubt.shape == (75, 50)
    assert doubt.max() < 1e-6


def test_doubt_of_four_different_answers_is_twice_their_deviation():
    shown = iter([0.1, 0.2, 0.6, 0.9])
    probability, doubt = Predictor(
        lambda images: np.full((*images.shape[:3], 1), next(shown), np.float32), None, Views(32, 0, True, 1, (1.0,))
    ).maps(IMAGE[:32, :32])
    assert np.allclose(probability, 0.45)
    assert np.allclose(doubt, 2 * np.sqrt((0.35**2 + 0.25**2 + 0.15**2 + 0.45**2) / 4))


def test_both_maps_are_changed_alike_and_a_missing_doubt_stays_missing():
    half = np.full((2, 2), 0.5, np.float32)
    assert np.array_equal(Maps(half, 2 * half).each(lambda part: part + 1).doubt, np.full((2, 2), 2.0))
    assert Maps(half, None).each(lambda part: part + 1).doubt is None


def test_mean_of_maps_is_that_of_all_views_and_so_is_the_doubt():
    views = np.random.default_rng(1).random((3, 4, 5, 6), np.float32)  # three scales, four flips
    maps = [Maps(of_scale.mean(axis=0), 2 * of_scale.std(axis=0)) for of_scale in views]
    every = views.reshape(12, 5, 6)
    probability, doubt = mean(maps)
    assert np.allclose(probability, every.mean(axis=0), atol=1e-6)
    assert np.allclose(doubt, 2 * every.std(axis=0), atol=1e-6)


def test_mean_of_one_is_itself_and_a_missing_doubt_stays_missing():
    one, other = (Maps(np.full((2, 2), value, np.float32), None) for value in (0.25, 0.75))
    assert np.array_equal(mean([one]).probability, one.probability)
    probability, doubt = mean([one, other])
    assert np.array_equal(probability, np.full((2, 2), 0.5))
    assert doubt is None
    unsure = [Maps(np.full((2, 2), value, np.float32), np.ones((2, 2), np.float32)) for value in (0.5, 0.6)]
    assert mean(unsure).doubt.max() == 1  # the map of one was enlarged: .6 and full doubt cannot be
    doubted = Maps(one.probability, np.float32([[0.1, 0.2], [0.3, 0.4]]))
    assert np.array_equal(mean([doubted]).doubt, doubted.doubt)
