import math

import numpy as np
import pytest
from sklearn import metrics as sk

from src.metrics.confusion_matrix import (
    SCORES,
    Counts,
    count,
    dice,
    iou_mean,
    iou_vessel,
    mcc,
    precision,
    recall,
    scores,
    sum_counts,
)

# ground truth and prediction of 4 x 4 pixels; the right column lies outside the region
TRUTH = np.array([[1, 1, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
PREDICTED = np.array([[1, 0, 0, 0], [0, 1, 1, 1], [0, 1, 0, 0], [0, 0, 0, 0]], bool)
REGION = np.array([[1, 1, 1, 0]] * 4, bool)
COUNTED = Counts(tp=3, fp=1, fn=1, tn=7)


def test_count_by_hand():
    assert count(TRUTH, PREDICTED, REGION) == COUNTED


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("accuracy", 10 / 12),
        ("f1", 6 / 8),
        ("iou_vessel", 3 / 5),
        ("iou_mean", (3 / 5 + 7 / 9) / 2),
        ("mcc", (3 * 7 - 1 * 1) / math.sqrt(4 * 4 * 8 * 8)),
        ("precision", 3 / 4),
        ("recall", 3 / 4),
        ("specificity", 7 / 8),
        ("balanced_accuracy", (3 / 4 + 7 / 8) / 2),
        ("false_positive_rate", 1 / 8),
        ("false_negative_rate", 1 / 4),
    ],
)
def test_score_by_hand(name, expected):
    assert scores(COUNTED)[name] == pytest.approx(expected)


def test_every_score_has_a_hand_computed_value():
    marked = test_score_by_hand.pytestmark[0].args[1]
    assert {name for name, _ in marked} == set(SCORES)


@pytest.mark.parametrize("seed", range(20))
def test_scores_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    truth, predicted = rng.random((30, 30)) < 0.2, rng.random((30, 30)) < 0.3
    named = scores(count(truth, predicted, np.ones_like(truth)))
    t, p = truth.ravel(), predicted.ravel()
    other = {
        "accuracy": sk.accuracy_score(t, p),
        "f1": sk.f1_score(t, p),
        "iou_vessel": sk.jaccard_score(t, p),
        "iou_mean": sk.jaccard_score(t, p, average="macro"),
        "mcc": sk.matthews_corrcoef(t, p),
        "precision": sk.precision_score(t, p),
        "recall": sk.recall_score(t, p),
        "specificity": sk.recall_score(t, p, pos_label=0),
        "balanced_accuracy": sk.balanced_accuracy_score(t, p),
        "false_positive_rate": 1 - sk.recall_score(t, p, pos_label=0),
        "false_negative_rate": 1 - sk.recall_score(t, p),
    }
    assert named == pytest.approx(other)


@pytest.mark.parametrize(
    ("score", "counts"),
    [
        (dice, Counts(0, 0, 0, 9)),
        (iou_vessel, Counts(0, 0, 0, 9)),
        (iou_mean, Counts(0, 0, 0, 9)),
        (mcc, Counts(0, 0, 3, 6)),
        (precision, Counts(0, 0, 3, 6)),
        (recall, Counts(0, 3, 0, 6)),
    ],
)
def test_undefined_score_is_nan(score, counts):
    assert math.isnan(score(counts))


def test_large_counts_do_not_overflow():
    many = 10**10
    assert mcc(Counts(many, 0, 0, many)) == 1.0


def test_pooling_adds():
    assert sum_counts([COUNTED, COUNTED]) == Counts(6, 2, 2, 14)


@pytest.mark.parametrize("wrong", [PREDICTED.astype(float), PREDICTED[:2]])
def test_count_rejects_other_types_and_shapes(wrong):
    with pytest.raises(ValueError, match="predicted: expected bool of shape"):
        count(TRUTH, wrong, REGION)
