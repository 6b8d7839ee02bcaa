"""Hysteresis thresholding: thin vessels that continue others are extended, isolated pieces dropped.

A map can be changed so that this holds at any threshold that is applied later, or at a given one alone. The latter
changes few probabilities.
"""

import cv2
import numpy as np

from src.common import image_geometry, probability_levels
from src.common.reference_scale import REFERENCE_FOV_DIAMETER

HYSTERESIS_FLOOR = 0.02  # levels below stay: to join the background as well takes three times as long
THIN_WIDTH = 3  # pixels of the reference scale: thinner vessels are removed by an opening with a disc of this diameter
LEAST_PROBABILITY = 1e-4  # probabilities are clipped to this, so that logits are finite
MARGIN = 1e-3  # probability: so much may a threshold be rounded that a user applies to the map
NEIGHBOURS = np.ones((3, 3), np.uint8)


def extend_thin_vessels(probability: np.ndarray, fov: np.ndarray, limit: float) -> np.ndarray:
    """Raise the logits of faint thin vessels that continue a more probable vessel, by `limit` at most.

    It is hysteresis thresholding (Canny, IEEE TPAMI 8(6), 1986) for thin vessels alone. A faint pixel counts at a
    threshold if its raised logit exceeds that, and such pixels connect it to one whose own logit does: a morphological
    reconstruction by dilation (Vincent, IEEE TIP 2(2), 1993). A pixel may rise by its excess over the morphological
    opening of the logits by a disc, dilated by a square of the same width. So borders of wide vessels stay.

    A thin vessel whose first pixels beside a wide one are faint is not reached. An isolated piece is extended, too.

    Args:
        probability: (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel. The disc has THIN_WIDTH at the reference scale and is
            scaled with the diameter of the FOV, to the nearest odd number of pixels, at least 3.
        limit: at least 0; 0 changes nothing.

    Returns:
        Probability (H, W) float32 in [0, 1], nowhere lower than before.
    """
    scale = image_geometry.fov_diameter(fov) / REFERENCE_FOV_DIAMETER
    width = max(3, 2 * round((THIN_WIDTH * scale - 1) / 2) + 1)
    clipped = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    logits = np.log(clipped / (1 - clipped))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    surroundings = cv2.dilate(cv2.morphologyEx(logits, cv2.MORPH_OPEN, disc), np.ones((width, width), np.uint8))
    raised = reconstruct(logits, logits + np.clip(logits - surroundings, 0, np.float32(limit)))
    return np.where(raised > logits, np.maximum(1 / (1 + np.exp(-raised)), probability), probability)


def at_threshold(probability: np.ndarray, changed: np.ndarray, threshold: float) -> np.ndarray:
    """Take over from a `changed` map no more than which pixels are vessels at `threshold`.

    A pixel that becomes a vessel gets the threshold plus MARGIN, one that ceases to be a vessel the threshold less
    MARGIN. All others keep their probability.

    Args:
        probability: (H, W) float32 in [0, 1].
        changed: the same map after a change, (H, W) float32 in [0, 1].
        threshold: in (0, 1).

    Returns:
        Probability (H, W) float32 in [0, 1].
    """
    before, after = (
        probability_levels.above(probability_levels.to_levels(each), threshold) for each in (probability, changed)
    )
    beyond = np.array([threshold - MARGIN, threshold + MARGIN], np.float32).clip(0, 1)
    return np.where(before == after, probability, beyond[after.astype(np.uint8)])


def lower_isolated_pieces(probability: np.ndarray, hysteresis_threshold: float) -> np.ndarray:
    """Lower each probability to the highest level at which a path joins the pixel to one above `hysteresis_threshold`.

    So at any threshold from HYSTERESIS_FLOOR to that one, vessels are the connected areas that hold such a pixel:
    hysteresis thresholding, whose lower threshold is still open. Neighbours are eight.

    Args:
        probability: (H, W) float32 in [0, 1].
        hysteresis_threshold: in (0, 1).

    Returns:
        Probability (H, W) float32 in [0, 1], unchanged above `hysteresis_threshold` and below HYSTERESIS_FLOOR.
    """
    levels = probability_levels.to_levels(probability)
    limit = np.where(probability_levels.above(levels, HYSTERESIS_FLOOR), levels, np.uint16(0))
    certain = np.where(probability_levels.above(levels, hysteresis_threshold), limit, np.uint16(0))
    joined = reconstruct(certain, limit)
    lowered = np.maximum(joined, np.uint16(probability_levels.lowest_level_above(HYSTERESIS_FLOOR) - 1))
    return np.where(joined < limit, lowered / np.float32(probability_levels.LEVELS - 1), probability)


def reconstruct(start: np.ndarray, limit: np.ndarray) -> np.ndarray:
    """Raise `start` (H, W) from neighbour to neighbour, nowhere above `limit`: its morphological reconstruction."""
    joined, wider = None, start
    while joined is None or (wider > joined).any():
        joined, wider = wider, cv2.min(cv2.dilate(wider, NEIGHBOURS), limit)
    return joined
