"""Scores of probability maps: counted once into a histogram, everything else derived.

A probability map is stored with 16 bits, so a histogram over its 65,536 levels, by truth, holds all that any
threshold, curve or area needs: exactly, and in the same memory for one image or for a thousand.
"""

import math
from typing import NamedTuple

import numpy as np

from src.counts import Counts, scores

LEVELS = 65536


class Histogram(NamedTuple):
    """Pixels by level of probability, (65536,) int64, of vessels and of background."""

    vessel: np.ndarray
    background: np.ndarray

    def __add__(self, other: "Histogram") -> "Histogram":
        """Both together: pooling over images."""
        return Histogram(self.vessel + other.vessel, self.background + other.background)


EMPTY = Histogram(np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64))


def histogram(levels: np.ndarray, truth: np.ndarray, region: np.ndarray) -> Histogram:
    """The pixels of `region` by level and truth: levels (H, W) uint16, the others (H, W) bool.

    Raises:
        ValueError: another type or shape.
    """
    for name, array, dtype in (("levels", levels, np.uint16), ("truth", truth, bool), ("region", region, bool)):
        if array.dtype != dtype or array.shape != truth.shape:
            raise ValueError(
                f"{name}: expected {np.dtype(dtype)} of shape {truth.shape}, got {array.dtype} {array.shape}"
            )
    return Histogram(
        np.bincount(levels[truth & region], minlength=LEVELS),
        np.bincount(levels[~truth & region], minlength=LEVELS),
    )


def first_level(threshold: float) -> int:
    """The lowest level that counts as vessel: probability > threshold."""
    return math.floor(threshold * (LEVELS - 1)) + 1


def counts_above(h: Histogram, threshold: float) -> Counts:
    """Counts of the map `probability > threshold`.

    >>> counts_above(EMPTY, 0.5)
    Counts(tp=0, fp=0, fn=0, tn=0)
    """
    first = first_level(threshold)
    tp, fp = int(h.vessel[first:].sum()), int(h.background[first:].sum())
    return Counts(tp, fp, int(h.vessel.sum()) - tp, int(h.background.sum()) - fp)


def _from_above(values: np.ndarray) -> np.ndarray:
    """Number of pixels at or above each level, from the highest level down, (65537,) beginning with none."""
    return np.concatenate([[0], np.cumsum(values[::-1])])


def auc_roc(h: Histogram) -> float:
    """Area under the ROC curve, exact (ties count half); NaN without vessel or without background."""
    tp, fp = _from_above(h.vessel), _from_above(h.background)
    if not tp[-1] or not fp[-1]:
        return math.nan
    return float(np.trapezoid(tp / tp[-1], fp / fp[-1]))


def auc_pr(h: Histogram) -> float:
    """Average precision, sum of (R_n - R_(n-1)) P_n over all thresholds; NaN without vessel."""
    tp, positive = _from_above(h.vessel), _from_above(h.vessel + h.background)
    if not tp[-1]:
        return math.nan
    precision = tp[1:] / np.maximum(positive[1:], 1)
    return float(np.sum(np.diff(tp) / tp[-1] * precision))


def best_threshold(h: Histogram) -> float:
    """The threshold of highest F1; among equals the lowest.

    Raises:
        ValueError: there is no vessel to choose it by.
    """
    tp, fp = _from_above(h.vessel)[1:], _from_above(h.background)[1:]
    if not tp[-1]:
        raise ValueError("expected vessels in the validation images to choose a threshold by, found none")
    f1 = 2 * tp / (tp[-1] + tp + fp)
    lowest_level = LEVELS - 1 - (len(f1) - 1 - int(np.argmax(f1[::-1])))
    return max(lowest_level - 0.5, 0.0) / (LEVELS - 1)


def curve(h: Histogram, points: int = 200) -> list[dict[str, float]]:
    """Rows of threshold, recall, precision, false_positive_rate, specificity and f1, by rising threshold.

    The thresholds are quantiles of the vessel's and of the background's levels, so the curves are as fine
    where the network is sure as where it doubts.
    """
    share = np.linspace(0, 1, points // 2 + 1)
    levels = {0.0}
    for values in h:
        if values.sum():
            levels.update(np.searchsorted(np.cumsum(values), share * values.sum()).clip(0, LEVELS - 1).tolist())
    rows = []
    for level in sorted(levels):
        threshold = level / (LEVELS - 1)
        named = scores(counts_above(h, threshold))
        row = {key: named[key] for key in ("recall", "precision", "specificity", "f1")}
        rows.append({"threshold": threshold, "false_positive_rate": 1 - named["specificity"], **row})
    return rows


def score_map(h: Histogram, threshold: float, loss: float) -> dict[str, float]:
    """Every reported score of a probability map, or of several pooled."""
    named = scores(counts_above(h, threshold))
    return named | {"auc_roc": auc_roc(h), "auc_pr": auc_pr(h), "loss": loss}


def over_images(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean and standard deviation (n - 1) of each score over images, as mean_* and sd_*.

    Images in which a score is undefined do not enter its mean; where they are fewer than all, n_* says how many
    did. NaN where there are none (for the deviation: fewer than two).
    """
    result = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows], float)
        values = values[np.isfinite(values)]
        result[f"mean_{name}"] = float(values.mean()) if len(values) else math.nan
        result[f"sd_{name}"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        if len(values) < len(rows):
            result[f"n_{name}"] = len(values)
    return result
