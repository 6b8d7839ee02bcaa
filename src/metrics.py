"""Scores of probability maps: counted once into a histogram, everything else derived.

A probability map is stored with 16 bits, so a histogram over its 65,536 levels, by truth, holds all that any
threshold, curve or area needs: exactly, and in the same memory for one image or for a thousand.
"""

import math
from typing import NamedTuple

import numpy as np

from src.counts import Counts, scores

LEVELS = 65536
BINS = 15  # of the reliability curve, as Guo et al. (ICML 2017) have them


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


def scores_at(h: Histogram, threshold: float) -> dict[str, float]:
    """Every score of the map `probability > threshold`, and the areas under both curves, by reported name."""
    return scores(counts_above(h, threshold)) | {"auc_roc": auc_roc(h), "auc_pr": auc_pr(h)}


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


def brier(h: Histogram) -> float:
    """Brier score: mean of (probability - truth)^2, [0, 1] (Brier, 1950); NaN without a pixel."""
    probability = np.arange(LEVELS) / (LEVELS - 1)
    total = int(h.vessel.sum() + h.background.sum())
    squares = h.vessel @ (1 - probability) ** 2 + h.background @ probability**2
    return float(squares / total) if total else math.nan


def reliability(h: Histogram) -> list[dict[str, float]]:
    """A row for each of BINS equal parts of [0, 1]: its upper end, pixels, mean probability and share of vessel.

    The last two are NaN where the bin is empty.
    """
    probability = np.arange(LEVELS) / (LEVELS - 1)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    vessel, pixels, mass = (
        np.bincount(bins, values, BINS)
        for values in (h.vessel, h.vessel + h.background, (h.vessel + h.background) * probability)
    )
    mean, share = (np.divide(part, pixels, out=np.full(BINS, np.nan), where=pixels > 0) for part in (mass, vessel))
    columns = ((np.arange(BINS) + 1) / BINS, pixels.astype(int), mean, share)
    names = ("probability_up_to", "pixels", "mean_probability", "vessel_share")
    return [dict(zip(names, (value.item() for value in row), strict=True)) for row in zip(*columns, strict=True)]


def calibration_error(h: Histogram) -> float:
    """Expected calibration error: mean over pixels of |mean probability - share of vessel| of their bin.

    Naeini et al., AAAI 2015; in [0, 1]; NaN without a pixel.
    """
    rows = [row for row in reliability(h) if row["pixels"]]
    total = sum(row["pixels"] for row in rows)
    gaps = sum(row["pixels"] * abs(row["mean_probability"] - row["vessel_share"]) for row in rows)
    return gaps / total if total else math.nan
