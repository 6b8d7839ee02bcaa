import cv2
import numpy as np
import pytest
from skimage import morphology

from src.metrics.skeletonization import skeletonize


@pytest.mark.parametrize("seed", range(40))
def test_it_equals_that_of_scikit_image_on_specks_and_on_smooth_shapes(seed):
    rng = np.random.default_rng(seed)
    noise = rng.random(rng.integers(1, 90, 2))
    for binary in (noise < rng.uniform(0.1, 0.95), cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.6, 4)) > 0.5):
        np.testing.assert_array_equal(skeletonize(binary), morphology.skeletonize(binary))


@pytest.mark.parametrize("value", [False, True])
def test_uniform_maps_equal_too(value):
    binary = np.full((7, 9), value)
    np.testing.assert_array_equal(skeletonize(binary), morphology.skeletonize(binary))
