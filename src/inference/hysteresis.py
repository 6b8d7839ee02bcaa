"""Vessels that neighbours decide: faint ends of thin vessels are raised, isolated pieces are lowered.

Both change the probability map itself and work at any threshold that is applied later.
"""

import cv2
import numpy as np

from src.common import image_geometry, probability_levels
from src.common.reference_scale import REFERENCE_FOV_DIAMETER

FLOOR = 0.02  # levels below stay: to join the background as well takes three times as long
THIN_WIDTH = 3  # pixels of the reference scale: thinner vessels are removed by an opening with a disc of this diameter
LEAST_PROBABILITY = 1e-4  # of which a logit is computed
NEIGHBOURS = np.ones((3, 3), np.uint8)


def extend_thin_vessels(probability: np.ndarray, fov: np.ndarray, limit: float) -> np.ndarray:
    """Raise the logits of thin vessels that continue a more probable vessel, by `limit` at most.

    It is hysteresis thresholding (Canny, IEEE TPAMI 8(6), 1986) for thin vessels alone: their faint ends exceed a
    threshold if a path joins them to a pixel above it. A pixel may rise by as much as its logit exceeds the
    morphological opening of the logits by a disc of THIN_WIDTH, within a disc's width. So no border of a wide vessel
    is raised. It rises no higher than the path that joins it: a morphological reconstruction by dilation (Vincent,
    IEEE TIP 2(2), 1993).

    Args:
        probability: (H, W) float32 in [0, 1].
        fov: field of view, (H, W) bool with at least one pixel; THIN_WIDTH is scaled with its diameter.
        limit: at least 0; 0 changes nothing.

    Returns:
        Probability (H, W) float32 in [0, 1], nowhere lower than before.
    """
    scale = image_geometry.fov_diameter(fov) / REFERENCE_FOV_DIAMETER
    width = max(3, 2 * round((THIN_WIDTH * scale - 1) / 2) + 1)  # odd, at least the smallest disc
    clipped = np.clip(probability, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    logits = np.log(clipped / (1 - clipped))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (width, width))
    wide = cv2.dilate(cv2.morphologyEx(logits, cv2.MORPH_OPEN, disc), np.ones((width, width), np.uint8))
    raised = reconstruct(logits, logits + np.clip(logits - wide, 0, np.float32(limit)))
    return np.where(raised > logits, 1 / (1 + np.exp(-raised)), probability)


def lower_isolated_pieces(probability: np.ndarray, hysteresis_threshold: float) -> np.ndarray:
    """Lower each probability to the highest level at which a path joins the pixel to one above `hysteresis_threshold`.

    So at any threshold from FLOOR to that one, vessels are the connected areas that hold such a pixel: hysteresis
    thresholding, whose lower threshold is still open. Neighbours are eight.

    Args:
        probability: (H, W) float32 in [0, 1].
        hysteresis_threshold: in (0, 1).

    Returns:
        Probability (H, W) float32 in [0, 1], unchanged above `hysteresis_threshold` and below FLOOR.
    """
    levels = probability_levels.to_levels(probability)
    limit = np.where(probability_levels.above(levels, FLOOR), levels, np.uint16(0))
    certain = np.where(probability_levels.above(levels, hysteresis_threshold), limit, np.uint16(0))
    joined = reconstruct(certain, limit)
    lowered = np.maximum(joined, np.uint16(probability_levels.lowest_level_above(FLOOR) - 1))
    return np.where(joined < limit, lowered / np.float32(probability_levels.LEVELS - 1), probability)


def reconstruct(marker: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Raise `marker` (H, W) from neighbour to neighbour, nowhere above `mask`: its morphological reconstruction."""
    joined, wider = None, marker
    while joined is None or not np.array_equal(joined, wider):
        joined, wider = wider, cv2.min(cv2.dilate(wider, NEIGHBOURS), mask)
    return joined
