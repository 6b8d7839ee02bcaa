"""A photograph to the probability of vessel at its own size; the same in evaluation and in the served model."""

import numpy as np

from src import preprocess
from src.predict import Predictor


def photograph(image: np.ndarray, fov: np.ndarray, predictor: Predictor, fov_diameter: int, clahe: float) -> np.ndarray:
    """The probability map (H, W) float32 of an (H, W, 3) uint8 RGB photograph, 0 outside its (H, W) bool FOV.

    For `fov_diameter` and `clahe` see `preprocess.prepare`.
    """
    prepared = preprocess.prepare(image, fov, fov_diameter, clahe)
    probability = preprocess.to_native(predictor.probability(prepared.image), fov.shape)
    return np.where(fov, probability, 0.0)
