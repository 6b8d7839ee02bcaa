"""Reduce intensities of more than 8 bits to 8 bits."""

import numpy as np

MAX_LEVELS = {255: 0, 4095: 4, 65535: 8}  # the largest level of 8, 12 and 16 bits, and the shift from there to 8 bits


def to_eight_bits(levels: np.ndarray) -> np.ndarray:
    """Reduce levels (H, W, C) of any integer type to uint8, 257 k of 16 bits to k; C as in L, LA, RGB, RGBA.

    Levels up to 255 are taken for 8-bit ones in a deeper file, and levels up to 4095 for 12-bit ones: colours and
    alpha channel each for itself.

    Raises:
        ValueError: a level is negative or above 65535.
    """
    colours = levels.shape[2] - 1 if levels.shape[2] in (2, 4) else levels.shape[2]
    parts = [part for part in (levels[..., :colours], levels[..., colours:]) if part.size]
    return np.concatenate([(part >> _shift(part)).astype(np.uint8) for part in parts], axis=2)


def _shift(levels: np.ndarray) -> int:
    least, most = levels.min(), levels.max()
    if least < 0 or most > max(MAX_LEVELS):
        raise ValueError(f"expected an image of 8 or 16 bits, got one with levels from {least} to {most}")
    return next(shift for top, shift in MAX_LEVELS.items() if most <= top)
