"""16-bit levels in which probability maps are stored: level 0 is probability 0, level 65535 is probability 1."""

import math

import numpy as np

LEVELS = 65536


def to_levels(probability: np.ndarray) -> np.ndarray:
    """Quantise probabilities in [0, 1] to levels, uint16 of the same shape."""
    return np.round(probability * 65535.0).astype(np.uint16)


def lowest_level_above(threshold: float) -> int:
    """Return the lowest level whose probability is greater than `threshold`; 65536 for a threshold of 1.

    >>> lowest_level_above(0.0), lowest_level_above(0.5), lowest_level_above(1.0)
    (1, 32768, 65536)
    """
    return math.floor(threshold * (LEVELS - 1)) + 1


def above(levels: np.ndarray, threshold: float) -> np.ndarray:
    """Return where the probability is greater than `threshold`: bool of the shape of `levels`."""
    return levels >= lowest_level_above(threshold)
