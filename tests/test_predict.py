import numpy as np
import pytest

from src.backend import tf
from src.predict import Predictor

IMAGE = np.random.default_rng(1).integers(0, 256, (75, 50, 3)).astype(np.uint8)


def network(kernel: np.ndarray, side: int | None = None) -> tf.keras.Model:
    """One convolution of the red channel and a sigmoid."""
    image = tf.keras.Input((side, side, 3))
    weights = np.zeros((*kernel.shape, 3, 1), np.float32)
    weights[:, :, 0, 0] = kernel
    layer = tf.keras.layers.Conv2D(
        1, kernel.shape, padding="same", use_bias=False, activation="sigmoid", weights=[weights]
    )
    return tf.keras.Model(image, layer(tf.keras.layers.Rescaling(1 / 64, -2.0)(image)))


POINT = np.ones((1, 1))
EXPECTED = 1 / (1 + np.exp(-(IMAGE[..., 0] / 64.0 - 2)))


@pytest.mark.parametrize("tile", [32, 64, 96])
@pytest.mark.parametrize("overlap", [0, 16])
@pytest.mark.parametrize("flips", [True, False])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_pointwise_network_gives_the_same_map_however_it_is_cut(tile, overlap, flips, batch_size):
    probability = Predictor(network(POINT), tile, overlap, flips, batch_size).probability(IMAGE)
    assert probability.shape == (75, 50)
    assert probability.dtype == np.float32
    assert np.allclose(probability, EXPECTED, atol=1e-5)


def test_network_of_fixed_size_takes_tiles_of_that_size():
    probability = Predictor(network(POINT, side=48), 1024, 16, True, 4).probability(IMAGE)
    assert np.allclose(probability, EXPECTED, atol=1e-5)


def test_flips_make_a_lopsided_network_symmetric():
    lopsided = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    predictor = Predictor(network(lopsided), 1024, 0, True, 4)
    square = IMAGE[:32, :32]
    flipped = predictor.probability(np.ascontiguousarray(square[:, ::-1]))[:, ::-1]
    assert np.allclose(predictor.probability(square), flipped, atol=1e-6)
    alone = Predictor(network(lopsided), 1024, 0, False, 4)
    assert not np.allclose(alone.probability(square), alone.probability(square[:, ::-1])[:, ::-1], atol=1e-2)


def test_overlapping_tiles_hide_their_seams():
    blur = np.full((5, 5), 1 / 25)
    whole = Predictor(network(blur), 128, 0, False, 1).probability(IMAGE)
    error = {}
    for overlap in (0, 16):
        tiled = Predictor(network(blur), 32, overlap, False, 1).probability(IMAGE)
        error[overlap] = np.abs(whole - tiled)[4:-20, 4:-20].mean()
    assert error[16] < 0.0005 < error[0]


def test_overlap_larger_than_a_fixed_tile_does_not_stop_the_tiling():
    predictor = Predictor(network(POINT, side=48), 1024, 128, False, 4)
    assert predictor.stride == 24
