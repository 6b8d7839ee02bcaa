"""A test image beside what the network made of it: the pictures that examples and page show."""

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src import samples
from src.colours import SKY, VERMILION, rgb

OUTCOMES = {"hit": "#000000", "miss": VERMILION, "false alarm": SKY}
OUTSIDE = "#D9D9D9"  # of the field of view, in the overlay
PALE = 0.4  # contrast of the photograph under the overlay
ONE = 65535  # the level of probability 1 in a prediction on disk


class Example(NamedTuple):
    """One test image: image (H, W, 3) uint8; truth, predicted, fov (H, W) bool; probability (H, W) float."""

    image: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    fov: np.ndarray


def read(sample: samples.Sample, predictions: Path, threshold: float) -> Example:
    """A test image with its prediction in the folder `predictions`."""
    levels = samples.read_levels(predictions / sample.dataset / f"{sample.id}.png")
    return picture(samples.image(sample), samples.truth(sample), samples.fov(sample), levels, threshold)


def picture(image: np.ndarray, truth: np.ndarray, fov: np.ndarray, levels: np.ndarray, threshold: float) -> Example:
    """An example from its pictures and the prediction on disk, `levels` (H, W) uint16."""
    return Example(image, truth, levels / ONE, levels > threshold * ONE, fov)


def outcomes(picture: Example) -> np.ndarray:
    """Hits, misses and false alarms in the colours of OUTCOMES, (H, W, 4) uint8 RGBA, transparent elsewhere."""
    drawn = np.zeros((*picture.truth.shape, 4), np.uint8)
    drawn[picture.truth & picture.predicted] = (*rgb(OUTCOMES["hit"]), 255)
    drawn[picture.truth & ~picture.predicted] = (*rgb(OUTCOMES["miss"]), 255)
    drawn[~picture.truth & picture.predicted] = (*rgb(OUTCOMES["false alarm"]), 255)
    drawn[~picture.fov] = (*rgb(OUTSIDE), 255)
    return drawn


def overlay(picture: Example) -> np.ndarray:
    """The outcomes on the photograph in pale grey, (H, W, 3) uint8."""
    grey = cv2.cvtColor(picture.image, cv2.COLOR_RGB2GRAY)
    pale = cv2.merge([np.uint8(255 - PALE * (255.0 - grey))] * 3)
    drawn = outcomes(picture)
    return np.where(drawn[..., 3:] > 0, drawn[..., :3], pale)


def shrink(picture: np.ndarray, largest: int) -> np.ndarray:
    """The picture (H, W) or (H, W, C) with its longer side at most `largest` pixels.

    >>> shrink(np.zeros((40, 30, 3)), 20).shape, shrink(np.zeros((4, 3)), 20).shape
    ((20, 15, 3), (4, 3))
    """
    scale = largest / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
