"""Confusion matrix of a vessel map: counts of TP, FP, FN and TN, and the scores derived from them."""

import math
from typing import NamedTuple

import numpy as np


class Counts(NamedTuple):
    """Number of pixels by ground truth and prediction; vessel is the positive class."""

    tp: int
    fp: int
    fn: int
    tn: int


def count(truth: np.ndarray, predicted: np.ndarray, region: np.ndarray) -> Counts:
    """Count TP, FP, FN and TN over the pixels of `region`; all three arrays (H, W) bool.

    Raises:
        ValueError: another type or shape.

    >>> t = np.array([[1, 1, 0, 0]], bool)
    >>> count(t, np.array([[1, 0, 1, 0]], bool), np.array([[1, 1, 1, 0]], bool))
    Counts(tp=1, fp=1, fn=1, tn=0)
    """
    for name, array in (("truth", truth), ("predicted", predicted), ("region", region)):
        if array.dtype != bool or array.shape != truth.shape:
            raise ValueError(f"{name}: expected bool of shape {truth.shape}, got {array.dtype} {array.shape}")
    tp = int(np.count_nonzero(truth & predicted & region))
    positive, vessel = int(np.count_nonzero(predicted & region)), int(np.count_nonzero(truth & region))
    return Counts(tp, positive - tp, vessel - tp, int(np.count_nonzero(region)) - positive - vessel + tp)


def sum_counts(counts: list[Counts]) -> Counts:
    """Add counts: pooling over images.

    >>> sum_counts([Counts(1, 2, 3, 4), Counts(1, 0, 0, 1)])
    Counts(tp=2, fp=2, fn=3, tn=5)
    """
    return Counts(*(sum(column) for column in zip(*counts, strict=True)))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def accuracy(c: Counts) -> float:
    """Fraction of pixels classified correctly, (TP + TN) / all; NaN without a pixel."""
    return _ratio(c.tp + c.tn, sum(c))


def precision(c: Counts) -> float:
    """Precision TP / (TP + FP); NaN when no vessel is predicted."""
    return _ratio(c.tp, c.tp + c.fp)


def recall(c: Counts) -> float:
    """Recall (sensitivity) TP / (TP + FN); NaN when there is no vessel."""
    return _ratio(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> float:
    """Specificity TN / (TN + FP); NaN when there is no background."""
    return _ratio(c.tn, c.tn + c.fp)


def balanced_accuracy(c: Counts) -> float:
    """Balanced accuracy, the mean of recall and specificity; NaN when either is undefined."""
    return (recall(c) + specificity(c)) / 2


def false_positive_rate(c: Counts) -> float:
    """Return FP / (FP + TN), 1 - specificity; NaN when there is no background."""
    return _ratio(c.fp, c.fp + c.tn)


def false_negative_rate(c: Counts) -> float:
    """Return FN / (FN + TP), 1 - recall; NaN when there is no vessel."""
    return _ratio(c.fn, c.fn + c.tp)


def dice(c: Counts) -> float:
    """Dice similarity (F1 score) 2TP / (2TP + FP + FN); NaN when neither map has a vessel.

    >>> dice(Counts(tp=1, fp=1, fn=0, tn=7))
    0.6666666666666666
    """
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def iou_vessel(c: Counts) -> float:
    """Intersection over union (Jaccard index) of vessels, TP / (TP + FP + FN); NaN when neither map has a vessel."""
    return _ratio(c.tp, c.tp + c.fp + c.fn)


def iou_mean(c: Counts) -> float:
    """Mean IoU of vessels and background; NaN when either is undefined."""
    return (iou_vessel(c) + _ratio(c.tn, c.tn + c.fp + c.fn)) / 2


def mcc(c: Counts) -> float:
    """Matthews correlation coefficient, in [-1, 1]; NaN when a row or column of the confusion matrix is empty.

    >>> mcc(Counts(tp=2, fp=0, fn=0, tn=3))
    1.0
    """
    tp, fp, fn, tn = (int(n) for n in c)
    return _ratio(tp * tn - fp * fn, math.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)))


SCORES = {
    "accuracy": accuracy,
    "balanced_accuracy": balanced_accuracy,
    "f1": dice,
    "iou_mean": iou_mean,
    "iou_vessel": iou_vessel,
    "mcc": mcc,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
    "false_positive_rate": false_positive_rate,
    "false_negative_rate": false_negative_rate,
}


def scores(c: Counts) -> dict[str, float]:
    """Compute every score of one confusion matrix, by its reported name."""
    return {name: score(c) for name, score in SCORES.items()}
