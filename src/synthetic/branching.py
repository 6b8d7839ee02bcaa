"""Branching of vessels: radii and angles of the daughters by Murray's law."""

import numpy as np

MURRAY = 3.0  # r0^3 = r1^3 + r2^3 (Murray, PNAS 1926)


def daughter_radii(radius: float, ratio: float) -> tuple[float, float]:
    """Return the radii of the larger and smaller daughter of a vessel by Murray's law; `ratio` is smaller / larger.

    >>> daughter_radii(1.0, 0.0)
    (1.0, 0.0)
    """
    larger = radius * (1.0 + ratio**MURRAY) ** (-1.0 / MURRAY)
    return larger, ratio * larger


def branch_angles(radius: float, larger: float, smaller: float) -> tuple[float, float]:
    """Return the angles, in radians, between parent and daughters of least work (Murray, J Gen Physiol 1926)."""
    r0, r1, r2 = radius**4, larger**4, smaller**4
    cosine_1 = (r0 + r1 - r2) / (2 * radius**2 * larger**2)
    cosine_2 = (r0 + r2 - r1) / (2 * radius**2 * smaller**2)
    return float(np.arccos(min(cosine_1, 1.0))), float(np.arccos(min(cosine_2, 1.0)))
