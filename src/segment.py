"""A photograph to its maps at its own size; the same in evaluation, in prediction and in the served model."""

import numpy as np

from src import preprocess
from src.predictor import Maps, Predictor


def photograph(image: np.ndarray, fov: np.ndarray, predictor: Predictor, fov_diameter: int, clahe: float) -> Maps:
    """The maps (H, W) of an (H, W, 3) uint8 RGB photograph, 0 outside its (H, W) bool FOV.

    For `fov_diameter` and `clahe` see `preprocess.prepare`.
    """
    prepared = preprocess.prepare(image, fov, fov_diameter, clahe)
    maps = predictor.maps(prepared.image)
    return maps.each(lambda part: np.where(fov, preprocess.to_native(part, fov.shape), np.float32(0)))
