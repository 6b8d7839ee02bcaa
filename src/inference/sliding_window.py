"""Sliding-window prediction with test-time augmentation (TTA): a prepared image to probability and uncertainty.

The network is a function of arrays, so that Keras and onnxruntime share this code.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from src.preprocessing import patches

Forward = Callable[[np.ndarray], np.ndarray]  # (B, H, W, 3) float32 in [0, 255] to (B, H, W, 1) float32 in [0, 1]
SIZE_MULTIPLE = 32  # of the sides of an input: the networks halve an image five times
FLIPS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))  # the flipped axes


class InferenceConfig(NamedTuple):
    """How an image is predicted.

    Attributes:
        tile: pixels; an image with a longer side is predicted in tiles of this side, which are blended smoothly.
        overlap: pixels that neighbouring tiles share, at most half a tile.
        tta_flips: whether the prediction is the mean over four flips.
        batch_size: flips predicted at once.
        tta_scales: sizes of the image over which the prediction is averaged, relative to its usual size.
        logit_adjustment: whether `segmentation.adjust_logits` follows.
        scale_weighting: whether `tta_scales` are weighted by `segmentation.scale_weights`.
        thin_vessel_extension: limit of `hysteresis.extend_thin_vessels`, which follows; 0: it does not.
        hysteresis_threshold: of `hysteresis.lower_isolated_pieces`, which follows that; None: it does not.
        threshold: where these two take effect, see `hysteresis.at_threshold`; None: at any threshold.
        min_scale_factor: least factor of `tta_scales` for images of low resolution, see
            `segmentation.input_diameters`.
    """

    tile: int
    overlap: int
    tta_flips: bool
    batch_size: int
    tta_scales: tuple[float, ...]
    logit_adjustment: bool = False
    scale_weighting: bool = False
    hysteresis_threshold: float | None = None
    min_scale_factor: float = 1.0
    thin_vessel_extension: float = 0.0
    threshold: float | None = None

    def without_hysteresis(self) -> "InferenceConfig":
        """Return the configuration without extension of thin vessels and hysteresis."""
        return self._replace(thin_vessel_extension=0.0, hysteresis_threshold=None)


class Prediction(NamedTuple):
    """Vessel probability and uncertainty of an image, (H, W) float32 in [0, 1] each.

    The probability is the mean over all test-time augmentations, weighted or not; logit adjustment, extension of thin
    vessels and hysteresis may change it afterwards. The uncertainty is twice the standard deviation of the
    augmentations: 0 where all agree, 1 where half of them output 0 and half output 1; None with a single prediction.
    """

    probability: np.ndarray
    uncertainty: np.ndarray | None

    def apply(self, function: Callable[[np.ndarray], np.ndarray]) -> "Prediction":
        """Return the prediction with `function` applied to both maps."""
        return Prediction(function(self.probability), None if self.uncertainty is None else function(self.uncertainty))


def merge_scales(predictions: list[Prediction], weights: np.ndarray | None = None) -> Prediction:
    """Average N predictions of one image at several scales, each the mean over equally many augmentations.

    `weights`, (N,) float32, sum to 1; None weights all alike. The total variance is the mean variance within a scale
    plus the variance of the means (law of total variance), both weighted. The uncertainty is limited to 1, as resizing
    may take it beyond.
    """
    if len(predictions) == 1:
        return predictions[0]
    probabilities = np.stack([each.probability for each in predictions])
    mean = np.average(probabilities, axis=0, weights=weights)
    variance = np.average(np.square(probabilities - mean), axis=0, weights=weights)
    uncertainties = [each.uncertainty for each in predictions if each.uncertainty is not None]
    if uncertainties:
        within = [np.square(uncertainty / 2) for uncertainty in uncertainties]
        variance += np.average(within, axis=0, weights=weights)
    return Prediction(mean, np.minimum(2 * np.sqrt(variance), np.float32(1)))


class SlidingWindowPredictor:
    """A network that predicts prepared images of any size, with the `config` by which `segment_image` does the rest."""

    def __init__(self, forward: Forward, input_size: int | None, config: InferenceConfig) -> None:
        """Wrap the network `forward`, whose input has sides of `input_size` pixels, or of any length (None)."""
        self.forward = forward
        self.config = config
        self.any_size = input_size is None
        self.tile = config.tile if input_size is None else input_size
        self.stride = self.tile - min(config.overlap, self.tile // 2)
        self.flips = FLIPS if config.tta_flips else FLIPS[:1]
        self.batch_size = config.batch_size

    def predict(self, image: np.ndarray) -> Prediction:
        """Predict a prepared image, (H, W, 3) uint8, at its own size."""
        height, width = image.shape[:2]
        if not self.any_size or max(height, width) > self.tile:
            return self._predict_tiles(image)
        padding = ((0, -height % SIZE_MULTIPLE), (0, -width % SIZE_MULTIPLE), (0, 0))
        padded = self._predict_flips(np.pad(image, padding, constant_values=patches.NEUTRAL))
        return padded.apply(lambda array: array[:height, :width])

    def _predict_tiles(self, image: np.ndarray) -> Prediction:
        """Predict an image in overlapping tiles."""
        height, width = image.shape[:2]
        probability, uncertainty = (patches.PatchAggregator((height, width), self.tile) for _ in range(2))
        for corner in patches.positions((height, width), self.tile, self.stride):
            of_tile = self._predict_flips(patches.extract_patch(image, corner, self.tile))
            probability.add(of_tile.probability, corner)
            if of_tile.uncertainty is not None:
                uncertainty.add(of_tile.uncertainty, corner)
        return Prediction(probability.result(), uncertainty.result() if len(self.flips) > 1 else None)

    def _predict_flips(self, image: np.ndarray) -> Prediction:
        """Predict an image whose size the network accepts: mean and uncertainty over the flips."""
        outputs = np.empty((len(self.flips), *image.shape[:2]), np.float32)
        for start in range(0, len(self.flips), self.batch_size):
            flips = self.flips[start : start + self.batch_size]
            batch = np.stack([np.flip(image, axes) for axes in flips]).astype(np.float32)
            for index, (axes, probability) in enumerate(zip(flips, self.forward(batch), strict=True), start):
                outputs[index] = np.flip(probability[..., 0], axes)
        return Prediction(outputs.mean(axis=0), 2 * outputs.std(axis=0) if len(self.flips) > 1 else None)
