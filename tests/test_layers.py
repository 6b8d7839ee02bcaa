import base64
import io

import numpy as np
import pytest
from PIL import Image

from src import layers, pictures
from src.colours import rgb


def example(height=60, width=80):
    """A cross of vessels, found but for its lower half, on a reddish photograph."""
    truth = np.zeros((height, width), bool)
    truth[height // 2] = truth[:, width // 2] = True
    probability = truth * 0.9
    probability[height // 2 + 5 :] = 0.1
    image = np.full((height, width, 3), (200, 90, 40), np.uint8)
    return pictures.Example(image, truth, probability, probability > 0.5, np.ones((height, width), bool))


def read(uri: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def test_layers_hold_the_pictures():
    given = example()
    made = layers.of(given)
    assert (made.width, made.height) == (80, 60)
    assert np.abs(read(made.photograph).astype(int) - given.image).max() < 12  # lossy
    assert (read(made.truth) / 255.0 == given.truth).all()
    assert np.abs(read(made.probability) / 255.0 - given.probability).max() <= 0.5 / (layers.GREYS - 1) + 0.5 / 255
    assert read(made.outcomes).tolist() == pictures.outcomes(given).tolist()


@pytest.mark.parametrize("shape", [(1000, 1600), (1600, 1000)])
def test_large_pictures_are_shrunk_alike(shape):
    made = layers.of(example(*shape))
    assert max(made.width, made.height) == layers.LARGEST
    for uri in made[:4]:
        assert read(uri).shape[:2] == (made.height, made.width)


def test_shrunk_outcomes_take_no_colour_from_what_is_transparent():
    given = example(1600, 1600)
    small = read(layers.of(given._replace(predicted=np.zeros_like(given.truth))).outcomes)
    found = {tuple(pixel[:3]) for pixel in small[small[..., 3] > 0].tolist()}
    assert found == {rgb(pictures.OUTCOMES["miss"])}


def test_equal_pictures_give_equal_bytes():
    assert layers.of(example()) == layers.of(example())
