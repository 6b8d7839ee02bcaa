"""Vessel segmentation of one fundus image at its native size; the same in evaluation, prediction and served model."""

import numpy as np

from src.inference.sliding_window import Prediction, SlidingWindowPredictor, merge_scales
from src.preprocessing import normalization


def segment_image(
    image: np.ndarray, fov: np.ndarray, predictor: SlidingWindowPredictor, fov_diameter: int, clahe_clip_limit: float
) -> Prediction:
    """Predict vessel probability and uncertainty, each (H, W), 0 outside the field of view.

    Args:
        image: (H, W, 3) uint8 RGB.
        fov: field of view, (H, W) bool with at least one pixel.
        predictor: the network; its `tta_scales` are averaged.
        fov_diameter: pixels that the image's FOV has in the network's input at scale 1.
        clahe_clip_limit: see `normalization.prepare`.
    """
    predictions = []
    for scale in predictor.tta_scales:
        prepared = normalization.prepare(image, fov, round(scale * fov_diameter), clahe_clip_limit)
        prediction = predictor.predict(prepared.image)
        predictions.append(prediction.apply(lambda array: normalization.to_native(array, fov.shape)))
    return merge_scales(predictions).apply(lambda array: np.where(fov, array, np.float32(0)))
