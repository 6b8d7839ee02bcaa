"""Vessel segmentation of one fundus image at its native size; the same in evaluation, prediction and served model."""

from collections.abc import Sequence

import numpy as np

from src.common import image_geometry, probability_levels
from src.inference import hysteresis
from src.inference.sliding_window import InferenceConfig, Prediction, SlidingWindowPredictor, merge_scales
from src.metrics import probability_metrics
from src.preprocessing import normalization

WEIGHT_TEMPERATURE = 0.03  # of expected F1
OWN_THRESHOLDS = (0.25, 0.75)  # least and largest: an image without vessels shall not get any from noise


def segment_image(
    image: np.ndarray, fov: np.ndarray, predictor: SlidingWindowPredictor, fov_diameter: int, clahe_clip_limit: float
) -> Prediction:
    """Predict vessel probability and uncertainty, each (H, W), 0 outside the field of view.

    Args:
        image: (H, W, 3) uint8 RGB.
        fov: field of view, (H, W) bool with at least one pixel.
        predictor: the network; the `tta_scales` of its config are averaged, weighted or not.
        fov_diameter: of the network's input at scale 1, in pixels; that of an image of low resolution may be
            smaller, see `input_diameters`.
        clahe_clip_limit: see `normalization.prepare`.
    """
    predictions, config = [], predictor.config
    diameters = [scale * fov_diameter for scale in config.tta_scales]
    for diameter in input_diameters(diameters, fov, config.min_scale_factor):
        prepared = normalization.prepare(image, fov, diameter, clahe_clip_limit)
        prediction = predictor.predict(prepared.image)
        predictions.append(prediction.apply(lambda array: normalization.to_native(array, fov.shape)))
    weights = scale_weights([each.probability for each in predictions], fov) if config.scale_weighting else None
    merged = merge_scales(predictions, weights).apply(lambda array: np.where(fov, array, np.float32(0)))
    probability = adjust_logits(merged.probability, fov) if config.logit_adjustment else merged.probability
    return merged._replace(probability=connect_vessels(probability, fov, config))


def input_diameters(diameters: Sequence[float], fov: np.ndarray, min_scale_factor: float) -> list[int]:
    """Return the FOV diameters at which an image is predicted, in pixels: smaller ones for low resolution.

    If the largest exceeds the diameter of the image, all are reduced in proportion until it does not. None is reduced
    below `min_scale_factor` times its value.

    Args:
        diameters: those of an image of high resolution.
        fov: field of view, (H, W) bool with at least one pixel.
        min_scale_factor: in (0, 1]; 1 keeps the diameters.

    >>> fov = np.ones((600, 600), bool)
    >>> input_diameters([400, 800], fov, 1.0), input_diameters([400, 800], fov, 0.5)
    ([400, 800], [300, 600])
    """
    factor = min(1.0, max(image_geometry.fov_diameter(fov) / max(diameters), min_scale_factor))
    return [round(factor * diameter) for diameter in diameters]


def connect_vessels(probability: np.ndarray, fov: np.ndarray, config: InferenceConfig) -> np.ndarray:
    """Extend thin vessels and drop isolated pieces, where and at what threshold the configuration says so.

    Args:
        probability: (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel.
        config: see there; without extension and hysteresis the map is returned as it is.
    """
    connected = probability
    if config.thin_vessel_extension:
        connected = hysteresis.extend_thin_vessels(connected, fov, config.thin_vessel_extension)
    if config.hysteresis_threshold is not None:
        connected = hysteresis.lower_isolated_pieces(connected, config.hysteresis_threshold)
    if config.threshold is not None and connected is not probability:
        connected = hysteresis.at_threshold(probability, connected, config.threshold)
    return connected


def scale_weights(probabilities: list[np.ndarray], fov: np.ndarray) -> np.ndarray:
    """Weight the N predictions of an image at several sizes by the confidence of the network, (N,) float32 with sum 1.

    The weights are the softmax of the highest expected F1 of each (see `probability_metrics`), divided by
    WEIGHT_TEMPERATURE. Where vessels have an unusual width in pixels, few probabilities are near 0 or 1, and F1 is
    expected to be low.

    Args:
        probabilities: N maps (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel.
    """
    expected = np.array([probability_metrics.highest_expected_f1(_count_levels(each, fov)) for each in probabilities])
    weights = np.exp((expected - expected.max()) / WEIGHT_TEMPERATURE)
    return (weights / weights.sum()).astype(np.float32)


def _count_levels(probability: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Count the pixels in the FOV at each level, (65536,)."""
    return np.bincount(probability_levels.to_levels(probability[fov]), minlength=probability_levels.LEVELS)


def own_threshold(counts: np.ndarray) -> float:
    """Return the threshold of an image from its number of pixels at each level, (65536,), within OWN_THRESHOLDS."""
    least, largest = OWN_THRESHOLDS
    return min(max(probability_metrics.expected_f1_threshold(counts), least), largest) if counts[1:].any() else least


def adjust_logits(probability: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Shift the logits of an image so that 0.5 becomes its threshold of the highest expected F1.

    On images unlike those of the training, probabilities can be too low or too high as a whole, so that no threshold
    that was chosen on validation images fits.

    Args:
        probability: (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel.

    Returns:
        Probability (H, W) float32 in [0, 1]; the order of the pixels is unchanged.
    """
    threshold = np.float32(own_threshold(_count_levels(probability, fov)))
    vessel, background = probability * (1 - threshold), (1 - probability) * threshold
    return vessel / (vessel + background)
