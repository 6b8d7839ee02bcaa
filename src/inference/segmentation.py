"""Vessel segmentation of one fundus image at its native size; the same in evaluation, prediction and served model."""

import numpy as np

from src.common import probability_levels
from src.inference.sliding_window import Prediction, SlidingWindowPredictor, merge_scales
from src.metrics import probability_metrics
from src.preprocessing import normalization

ADJUSTED_THRESHOLDS = (0.25, 0.75)  # least and largest: an image without vessels shall not get any from noise


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
    merged = merge_scales(predictions).apply(lambda array: np.where(fov, array, np.float32(0)))
    if predictor.logit_adjustment:
        return merged._replace(probability=adjust_logits(merged.probability, fov))
    return merged


def adjust_logits(probability: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Shift the logits of an image so that 0.5 becomes its threshold of the highest expected F1.

    On images unlike those of the training, probabilities are too low or too high as a whole, and so is the threshold
    that was chosen on validation images; this one follows the image. It stays within ADJUSTED_THRESHOLDS.

    Args:
        probability: (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel.

    Returns:
        Probability (H, W) float32 in [0, 1]; the order of the pixels is unchanged.
    """
    counts = np.bincount(probability_levels.to_levels(probability[fov]), minlength=probability_levels.LEVELS)
    threshold = np.float32(np.clip(probability_metrics.expected_f1_threshold(counts), *ADJUSTED_THRESHOLDS))
    vessel, background = probability * (1 - threshold), (1 - probability) * threshold
    return vessel / (vessel + background)
