import numpy as np
import pytest

from src.synthetic import background, lesions
from src.synthetic.anatomy import Anatomy

ANATOMY = Anatomy(disc=-190 - 20j, fovea=10 + 5j, disc_radius=38.0, magnification=1.0)


@pytest.mark.parametrize("shape", [(100, 140), (33, 20)])
def test_noise_is_standardised(shape):
    field = background.smooth_noise(np.random.default_rng(0), shape, 9.0)
    assert field.shape == shape
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)


def test_some_but_not_all_images_have_lesions():
    grid = background.pixel_grid(540, 540)
    plain = np.full((540, 540, 3), 0.5, np.float32)
    images = [lesions.add_lesions(np.random.default_rng(index), ANATOMY, grid, plain) for index in range(12)]
    assert 2 <= sum(not np.allclose(image, plain) for image in images) <= 10
