"""Random patches and limits of transforms, for tests."""

import cv2
import numpy as np

from src.preprocessing.patch_storage import LabelledPatch
from src.preprocessing.patches import NEUTRAL
from src.preprocessing.transforms import TransformLimits

SIZE = 64
NONE = TransformLimits(0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
GEOMETRIC = NONE._replace(rotation=180.0, flip=True, scale=0.15, elastic_sigma=2.0)
ALL = GEOMETRIC._replace(brightness=0.1, contrast=0.25, gamma=0.25, colour=0.1, noise_std=0.02, blur_sigma=1.0)


def random_patch(side=SIZE, seed=0, full=False):
    """Noise around neutral with smooth blobs as truth and a half plane as FOV."""
    rng = np.random.default_rng(seed)
    truth = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), 4) > 0.05
    fov = np.full((side, side), full) | (np.add.outer(np.arange(side), np.arange(side)) > 0.7 * side)
    image = rng.integers(90, 160, (side, side, 3)).astype(np.uint8)
    image[~fov] = NEUTRAL
    return LabelledPatch(image, truth, fov)
