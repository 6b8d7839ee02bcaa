"""Test images with ground truth and prediction, and the overlay of errors on the image."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src.common import probability_levels
from src.common.palette import SKY, VERMILION, rgb
from src.data import samples

TRUE_POSITIVES, FALSE_NEGATIVES, FALSE_POSITIVES = "true positives", "false negatives", "false positives"
OUTCOME_COLOURS = {TRUE_POSITIVES: "#000000", FALSE_NEGATIVES: VERMILION, FALSE_POSITIVES: SKY}
OUTSIDE_FOV_COLOUR = "#D9D9D9"
OVERLAY_COLOURS = {**OUTCOME_COLOURS, "outside the field of view": OUTSIDE_FOV_COLOUR}  # the legend
BACKGROUND_CONTRAST = 0.4  # of the grey image under the overlay


class PredictedImage(NamedTuple):
    """A test image with its prediction.

    `image` is (H, W, 3) uint8 RGB; `truth`, `predicted` and `fov` are (H, W) bool, `probability` is (H, W) float.
    """

    image: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    fov: np.ndarray

    def crop(self, rows: slice, columns: slice) -> "PredictedImage":
        """Return a rectangle of the image."""
        return PredictedImage(*(array[rows, columns] for array in self))


def read(sample: samples.Sample, predictions: Path, threshold: float) -> PredictedImage:
    """Read a test image with its probability map in the folder `predictions`."""
    levels = samples.read_levels(predictions / sample.dataset / f"{sample.id}.png")
    return from_levels(samples.image(sample), samples.truth(sample), samples.fov(sample), levels, threshold)


def from_levels(
    image: np.ndarray, truth: np.ndarray, fov: np.ndarray, levels: np.ndarray, threshold: float
) -> PredictedImage:
    """Combine a test image with its probability map on disk, `levels` (H, W) uint16."""
    probability = levels / (probability_levels.LEVELS - 1)
    return PredictedImage(image, truth, probability, probability_levels.above(levels, threshold), fov)


def outcome_layer(example: PredictedImage) -> np.ndarray:
    """Colour true positives, false negatives, false positives and what is outside the FOV, (H, W, 4) uint8 RGBA.

    Other pixels are transparent.
    """
    layer = np.zeros((*example.truth.shape, 4), np.uint8)
    layer[example.truth & example.predicted] = (*rgb(OUTCOME_COLOURS[TRUE_POSITIVES]), 255)
    layer[example.truth & ~example.predicted] = (*rgb(OUTCOME_COLOURS[FALSE_NEGATIVES]), 255)
    layer[~example.truth & example.predicted] = (*rgb(OUTCOME_COLOURS[FALSE_POSITIVES]), 255)
    layer[~example.fov] = (*rgb(OUTSIDE_FOV_COLOUR), 255)
    return layer


def overlay(example: PredictedImage) -> np.ndarray:
    """Draw the outcome layer over the image in pale grey, (H, W, 3) uint8."""
    grey = cv2.cvtColor(example.image, cv2.COLOR_RGB2GRAY)
    pale = (255 - BACKGROUND_CONTRAST * (255.0 - grey)).astype(np.uint8)
    layer = outcome_layer(example)
    return np.where(layer[..., 3:] > 0, layer[..., :3], pale[..., None])


def shrink(picture: np.ndarray, max_side: int) -> np.ndarray:
    """Scale (H, W) or (H, W, C) down until the longer side has at most `max_side` pixels.

    >>> shrink(np.zeros((40, 30, 3)), 20).shape, shrink(np.zeros((4, 3)), 20).shape
    ((20, 15, 3), (4, 3))
    """
    scale = max_side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
