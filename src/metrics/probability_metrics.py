"""Scores of probability maps, all derived from one histogram of levels by ground truth.

A probability map is stored with 16 bits. Its histogram over 65,536 levels therefore holds all that any threshold, curve
or area needs: exactly, and in the same memory for one image or a thousand.
"""

import math
from dataclasses import dataclass

import numpy as np

from src.common.probability_levels import LEVELS, lowest_level_above
from src.metrics.confusion_matrix import Counts, scores

CURVE_QUANTILES = 100  # of the levels of each class
BINS = 15  # of the reliability curve, as Guo et al. (ICML 2017) have them


@dataclass(frozen=True, eq=False)
class Histogram:
    """Number of pixels at each probability level, (65536,) int64 or float64, of vessels and of background."""

    vessel: np.ndarray
    background: np.ndarray

    def __add__(self, other: "Histogram") -> "Histogram":
        """Add two histograms: pooling over images."""
        return Histogram(self.vessel + other.vessel, self.background + other.background)


EMPTY = Histogram(np.zeros(LEVELS, np.int64), np.zeros(LEVELS, np.int64))


def histogram(levels: np.ndarray, truth: np.ndarray, region: np.ndarray) -> Histogram:
    """Count the pixels of `region` by level and ground truth.

    Args:
        levels: (H, W) uint16, see `src.common.probability_levels`.
        truth: (H, W) bool.
        region: pixels that count, (H, W) bool.

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


def counts_above(h: Histogram, threshold: float) -> Counts:
    """Count TP, FP, FN and TN of the map `probability > threshold`.

    >>> counts_above(EMPTY, 0.5)
    Counts(tp=0, fp=0, fn=0, tn=0)
    """
    first = lowest_level_above(threshold)
    tp, fp = int(h.vessel[first:].sum()), int(h.background[first:].sum())
    return Counts(tp, fp, int(h.vessel.sum()) - tp, int(h.background.sum()) - fp)


def scores_at(h: Histogram, threshold: float) -> dict[str, float]:
    """Compute every score of the map `probability > threshold`, AUC-ROC and AUC-PR, by reported name."""
    return scores(counts_above(h, threshold)) | {"auc_roc": auc_roc(h), "auc_pr": auc_pr(h)}


def _from_above(values: np.ndarray) -> np.ndarray:
    """Count pixels at or above each level, from the highest level down, (65537,); the first count is 0."""
    return np.concatenate([[0], np.cumsum(values[::-1])])


def auc_roc(h: Histogram) -> float:
    """Area under the ROC curve, exact (ties count half), in [0, 1]; NaN without vessel or without background."""
    tp, fp = _from_above(h.vessel), _from_above(h.background)
    if not tp[-1] or not fp[-1]:
        return math.nan
    return float(np.trapezoid(tp / tp[-1], fp / fp[-1]))


def auc_pr(h: Histogram) -> float:
    """Average precision, the sum of (R_n - R_(n-1)) P_n over all thresholds, in [0, 1]; NaN without vessel."""
    tp, positive = _from_above(h.vessel), _from_above(h.vessel + h.background)
    if not tp[-1]:
        return math.nan
    precision = tp[1:] / np.maximum(positive[1:], 1)
    return float(np.sum(np.diff(tp) / tp[-1] * precision))


def best_threshold(*histograms: Histogram) -> float:
    """Choose the threshold of the highest mean F1 over the histograms, one of each data set; the lowest of several.

    Raises:
        ValueError: there is no vessel in one of them, or there is none.
    """
    if not histograms or not all(h.vessel.any() for h in histograms):
        raise ValueError("expected vessel pixels to choose a threshold by, found none")
    f1 = np.mean([_f1_above(h) for h in histograms], axis=0)
    lowest_level = 1 + int(np.argmax(f1[-2::-1]))  # level 0 is above no threshold
    return (lowest_level - 0.5) / (LEVELS - 1)


def expected_f1_threshold(counts: np.ndarray) -> float:
    """Choose the threshold of the highest expected F1 of an image, from its probabilities alone.

    Were each probability p right, a fraction p of its pixels would be vessel; F1 is that of these expected counts
    (Lipton, Elkan and Naryanaswamy, ECML 2014).

    Args:
        counts: number of pixels at each level, (65536,), some of them above 0.
    """
    return best_threshold(_expected_histogram(counts))


def highest_expected_f1(counts: np.ndarray) -> float:
    """Return the expected F1 in [0, 1] at `expected_f1_threshold`; 0 where no pixel is above level 0."""
    return float(_f1_above(_expected_histogram(counts)).max()) if counts[1:].any() else 0.0


def _expected_histogram(counts: np.ndarray) -> Histogram:
    probability = np.arange(LEVELS) / (LEVELS - 1)
    return Histogram(counts * probability, counts * (1 - probability))


def _f1_above(h: Histogram) -> np.ndarray:
    """Return F1 (LEVELS,) of the pixels from each level on, the highest level first."""
    tp, fp = _from_above(h.vessel)[1:], _from_above(h.background)[1:]
    return 2 * tp / (tp[-1] + tp + fp)


def curve(h: Histogram) -> list[dict[str, float]]:
    """Compute the points of the ROC and precision-recall curves, by increasing threshold.

    Rows of threshold, false_positive_rate, recall, precision, specificity and f1. The thresholds are quantiles of the
    levels of vessels and of background: the curves are as fine where probabilities crowd near 0 and 1 as between.
    """
    fractions = np.linspace(0, 1, CURVE_QUANTILES + 1)
    levels = {0.0}
    for values in (h.vessel, h.background):
        if values.sum():
            levels.update(np.searchsorted(np.cumsum(values), fractions * values.sum()).clip(0, LEVELS - 1).tolist())
    rows = []
    for level in sorted(levels):
        threshold = level / (LEVELS - 1)
        named = scores(counts_above(h, threshold))
        row = {key: named[key] for key in ("recall", "precision", "specificity", "f1")}
        rows.append({"threshold": threshold, "false_positive_rate": 1 - named["specificity"], **row})
    return rows


def brier_score(h: Histogram) -> float:
    """Brier score, the mean of (probability - truth)^2, in [0, 1] (Brier, 1950); NaN without a pixel."""
    probability = np.arange(LEVELS) / (LEVELS - 1)
    total = int(h.vessel.sum() + h.background.sum())
    squares = h.vessel @ (1 - probability) ** 2 + h.background @ probability**2
    return float(squares / total) if total else math.nan


def reliability_curve(h: Histogram) -> list[dict[str, float]]:
    """Compute a row for each of BINS equal bins of [0, 1], by increasing probability.

    Rows of probability_up_to, pixels, mean_probability and vessel_fraction; the last two are NaN in an empty bin.
    """
    probability = np.arange(LEVELS) / (LEVELS - 1)
    bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], probability)
    vessel, pixels, mass = (
        np.bincount(bins, values, BINS)
        for values in (h.vessel, h.vessel + h.background, (h.vessel + h.background) * probability)
    )
    mean, fraction = (np.divide(part, pixels, out=np.full(BINS, np.nan), where=pixels > 0) for part in (mass, vessel))
    columns = ((np.arange(BINS) + 1) / BINS, pixels.astype(int), mean, fraction)
    names = ("probability_up_to", "pixels", "mean_probability", "vessel_fraction")
    return [dict(zip(names, (value.item() for value in row), strict=True)) for row in zip(*columns, strict=True)]


def expected_calibration_error(h: Histogram) -> float:
    """Compute the mean over pixels of |mean probability - fraction of vessel| of their bin.

    In [0, 1] (Naeini et al., AAAI 2015); NaN without a pixel.
    """
    rows = [row for row in reliability_curve(h) if row["pixels"]]
    total = sum(row["pixels"] for row in rows)
    gaps = sum(row["pixels"] * abs(row["mean_probability"] - row["vessel_fraction"]) for row in rows)
    return gaps / total if total else math.nan
