"""Scores of one vessel map against the ground truth, in one region of one image."""

from typing import NamedTuple

import numpy as np

from src.common import probability_levels
from src.metrics import probability_metrics
from src.metrics.confusion_matrix import Counts
from src.metrics.probability_metrics import Histogram
from src.models.losses import Loss
from src.models.tensorflow_setup import tf


class ProbabilityMap(NamedTuple):
    """A probability map (H, W) uint16 of levels, and the threshold above which it predicts vessel."""

    levels: np.ndarray
    threshold: float

    def vessels(self) -> np.ndarray:
        """Return where the map exceeds its threshold, (H, W) bool."""
        return probability_levels.above(self.levels, self.threshold)


class ImageScores(NamedTuple):
    """Scores of one observer in one region of one image; undefined ones are NaN."""

    dataset: str
    id: str
    group: str
    observer: str
    region: str
    counts: Counts
    scores: dict[str, float]

    def as_row(self) -> dict[str, object]:
        """Return the row of per_image.csv, by column."""
        place = {name: value for name, value in self._asdict().items() if name not in ("counts", "scores")}
        return place | self.counts._asdict() | self.scores


def threshold_free_scores(h: Histogram, observer: str, region: str, loss: Loss) -> dict[str, float]:
    """Compute the scores of a probability map that need no threshold, by reported name.

    Loss and calibration are of the model alone: the response of a filter is no probability.
    """
    scores = {"auc_roc": probability_metrics.auc_roc(h), "auc_pr": probability_metrics.auc_pr(h)}
    if observer == "model":
        scores["loss"] = pooled_loss(h, loss)
    if observer == "model" and region == "fov":
        scores["brier"] = probability_metrics.brier_score(h)
        scores["calibration_error"] = probability_metrics.expected_calibration_error(h)
    return scores


def pooled_loss(h: Histogram, loss: Loss) -> float:
    """Compute `loss` over all pixels of a histogram, each level weighted by its number of pixels."""
    levels = np.arange(probability_levels.LEVELS) / (probability_levels.LEVELS - 1)
    truth = np.concatenate([np.ones(probability_levels.LEVELS), np.zeros(probability_levels.LEVELS)])
    arguments = (truth, np.tile(levels, 2), np.concatenate([h.vessel, h.background]))
    return float(loss(*(tf.constant(values, tf.float64) for values in arguments)))
