"""A photograph to its maps at its own size; the same in evaluation, in prediction and in the served model."""

import numpy as np

from src import preprocess
from src.predictor import Maps, Predictor, mean


def photograph(image: np.ndarray, fov: np.ndarray, predictor: Predictor, fov_diameter: int, clahe: float) -> Maps:
    """The maps (H, W) of an (H, W, 3) uint8 RGB photograph, 0 outside its (H, W) bool FOV.

    For `fov_diameter` and `clahe` see `preprocess.prepare`. In each of the predictor's scales the FOV has so many times
    that diameter.
    """
    shown = []
    for scale in predictor.scales:
        prepared = preprocess.prepare(image, fov, round(scale * fov_diameter), clahe)
        shown.append(predictor.maps(prepared.image).each(lambda part: preprocess.to_native(part, fov.shape)))
    return mean(shown).each(lambda part: np.where(fov, part, np.float32(0)))
