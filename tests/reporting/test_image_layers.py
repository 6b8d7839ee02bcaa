import base64
import io

import numpy as np
import pytest
from PIL import Image

from src.common.palette import rgb
from src.reporting import image_layers, overlays
from tests.reporting.example_run import predicted_image


def read(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_layers_hold_image_maps_and_outcomes():
    given = predicted_image()
    encoded = image_layers.encode_layers(given)
    assert (encoded.width, encoded.height) == (80, 60)
    assert np.abs(read(encoded.image).astype(int) - given.image).max() < 12  # lossy
    assert (read(encoded.truth) / 255.0 == given.truth).all()
    rounding = 0.5 / (image_layers.PROBABILITY_LEVELS - 1) + 0.5 / 255
    assert np.abs(read(encoded.probability) / 255.0 - given.probability).max() <= rounding
    assert read(encoded.outcomes).tolist() == overlays.outcome_layer(given).tolist()


@pytest.mark.parametrize("shape", [(1000, 1600), (1600, 1000)])
def test_layers_of_a_large_image_are_shrunk_alike(shape):
    encoded = image_layers.encode_layers(predicted_image(*shape))
    assert max(encoded.width, encoded.height) == image_layers.MAX_SIDE
    for uri in (encoded.image, encoded.truth, encoded.probability, encoded.outcomes):
        assert read(uri).shape[:2] == (encoded.height, encoded.width)


def test_shrunk_outcomes_have_no_colour_of_transparent_pixels():
    given = predicted_image(1600, 1600)
    small = read(image_layers.encode_layers(given._replace(predicted=np.zeros_like(given.truth))).outcomes)
    found = {tuple(pixel[:3]) for pixel in small[small[..., 3] > 0].tolist()}
    assert found == {rgb(overlays.OUTCOME_COLOURS[overlays.FALSE_NEGATIVES])}


def test_equal_images_have_equal_bytes():
    assert image_layers.encode_layers(predicted_image()) == image_layers.encode_layers(predicted_image())
