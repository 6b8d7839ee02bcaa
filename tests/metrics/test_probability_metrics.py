import itertools
import math

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from src.common import probability_levels
from src.common.probability_levels import LEVELS
from src.metrics import probability_metrics
from src.metrics.confusion_matrix import Counts, count, dice


def random_map(seed: int, ties: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth, fov = rng.random((40, 40)) < 0.15, rng.random((40, 40)) < 0.8
    probability = np.clip(0.3 * truth + 0.6 * rng.random((40, 40)), 0, 1)
    levels = np.round(probability * 65535).astype(np.uint16)
    return (levels // 9000 * 9000 if ties else levels), truth, fov


def equal(one: probability_metrics.Histogram, other: probability_metrics.Histogram) -> bool:
    return np.array_equal(one.vessel, other.vessel) and np.array_equal(one.background, other.background)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_areas_agree_with_scikit_learn(seed, ties):
    levels, truth, fov = random_map(seed, ties)
    h = probability_metrics.histogram(levels, truth, fov)
    assert probability_metrics.auc_roc(h) == pytest.approx(sk.roc_auc_score(truth[fov], levels[fov]))
    assert probability_metrics.auc_pr(h) == pytest.approx(sk.average_precision_score(truth[fov], levels[fov]))


@pytest.mark.parametrize("threshold", [0.0, 0.25, 0.5, 1 - 1e-9, 1.0])
def test_counts_above_are_those_of_the_thresholded_map(threshold):
    levels, truth, fov = random_map(3)
    predicted = levels / 65535 > threshold
    assert probability_metrics.counts_above(probability_metrics.histogram(levels, truth, fov), threshold) == count(
        truth, predicted, fov
    )


def test_scores_at_a_threshold_are_those_of_the_map_and_both_areas():
    levels, truth, fov = random_map(4)
    h = probability_metrics.histogram(levels, truth, fov)
    named = probability_metrics.scores_at(h, 0.4)
    assert named["f1"] == dice(count(truth, levels / 65535 > 0.4, fov))
    assert (named["auc_roc"], named["auc_pr"]) == (probability_metrics.auc_roc(h), probability_metrics.auc_pr(h))


def test_level_at_the_threshold_is_not_vessel():
    levels = np.array([[99, 100, 101]], np.uint16)
    truth = fov = np.ones((1, 3), bool)
    assert probability_metrics.counts_above(probability_metrics.histogram(levels, truth, fov), 100 / 65535) == Counts(
        1, 0, 2, 0
    )


@pytest.mark.parametrize("seed", range(5))
def test_best_threshold_is_the_best_of_all(seed):
    levels, truth, fov = random_map(seed, ties=seed % 2 == 0)
    h = probability_metrics.histogram(levels, truth, fov)
    best = dice(probability_metrics.counts_above(h, probability_metrics.best_threshold(h)))
    every = [dice(count(truth, levels >= level, fov)) for level in np.unique(levels)]
    assert best == max(every)


def test_best_threshold_leaves_out_the_lowest_level_alone():
    """All pixels would have the higher F1, but no threshold has these."""
    h = two_levels(0.0, 0.0, 90) + two_levels(0.3, 0.6, 10)
    threshold = probability_metrics.best_threshold(h)
    assert 0.3 <= threshold < 0.6
    assert probability_metrics.counts_above(h, threshold) == (10, 0, 90, 100)


def two_levels(background: float, vessel: float, pixels: int) -> probability_metrics.Histogram:
    """As many pixels of vessel at one probability as of background at another."""
    counts = np.zeros((2, probability_metrics.LEVELS), np.int64)
    counts[0, round(vessel * 65535)] = counts[1, round(background * 65535)] = pixels
    return probability_metrics.Histogram(*counts)


def test_best_threshold_of_several_data_sets_weights_them_equally():
    small, large = two_levels(0.3, 0.4, 1), two_levels(0.6, 0.8, 50)
    assert 0.3 <= probability_metrics.best_threshold(small, large) < 0.4
    assert 0.6 <= probability_metrics.best_threshold(small + large) < 0.8


@pytest.mark.parametrize("histograms", [(), (probability_metrics.EMPTY,)])
def test_best_threshold_without_vessels_is_rejected(histograms):
    with pytest.raises(ValueError, match="found none"):
        probability_metrics.best_threshold(*histograms)


def test_pixels_outside_the_region_never_count():
    levels, truth, fov = random_map(1)
    changed = np.where(fov, levels, 65535 - levels)
    one, other = (
        probability_metrics.histogram(levels, truth, fov),
        probability_metrics.histogram(changed, truth ^ ~fov, fov),
    )
    assert equal(one, other)


def test_pooling_is_one_large_image():
    maps = [random_map(seed) for seed in (1, 2)]
    pooled = probability_metrics.histogram(*maps[0]) + probability_metrics.histogram(*maps[1])
    joined = probability_metrics.histogram(*(np.concatenate(pair) for pair in zip(*maps, strict=True)))
    assert equal(pooled, joined)


@pytest.mark.parametrize("vessel", [True, False])
def test_area_over_one_class_is_nan(vessel):
    levels, _, fov = random_map(1)
    h = probability_metrics.histogram(levels, np.full_like(fov, vessel), fov)
    assert math.isnan(probability_metrics.auc_roc(h))
    assert probability_metrics.auc_pr(h) == 1.0 if vessel else math.isnan(probability_metrics.auc_pr(h))


def test_curve_rises_in_threshold_and_falls_in_recall():
    rows = probability_metrics.curve(probability_metrics.histogram(*random_map(1)))
    assert rows[0]["threshold"] == 0.0
    assert all(a["threshold"] < b["threshold"] for a, b in itertools.pairwise(rows))
    assert all(a["recall"] >= b["recall"] for a, b in itertools.pairwise(rows))


def test_float_map_is_rejected():
    levels, truth, fov = random_map(1)
    with pytest.raises(ValueError, match="levels: expected uint16"):
        probability_metrics.histogram(levels / 65535, truth, fov)


@pytest.mark.parametrize("seed", range(5))
def test_brier_score_agrees_with_scikit_learn(seed):
    levels, truth, fov = random_map(seed)
    h = probability_metrics.histogram(levels, truth, fov)
    assert probability_metrics.brier_score(h) == pytest.approx(sk.brier_score_loss(truth[fov], levels[fov] / 65535))


@pytest.mark.parametrize("seed", range(5))
def test_reliability_agrees_with_scikit_learn(seed):
    levels, truth, fov = random_map(seed)
    rows = [
        row
        for row in probability_metrics.reliability_curve(probability_metrics.histogram(levels, truth, fov))
        if row["pixels"]
    ]
    fraction, mean = calibration_curve(truth[fov], levels[fov] / 65535, n_bins=probability_metrics.BINS)
    assert [row["vessel_fraction"] for row in rows] == pytest.approx(fraction.tolist())
    assert [row["mean_probability"] for row in rows] == pytest.approx(mean.tolist())
    assert sum(row["pixels"] for row in rows) == fov.sum()


def test_calibration_error_by_hand():
    levels = np.array(
        [[0, 0, 0, 65535]], np.uint16
    )  # confident of background, wrong once in three; confident of vessel, right
    truth, fov = np.array([[False, False, True, True]]), np.ones((1, 4), bool)
    assert probability_metrics.expected_calibration_error(
        probability_metrics.histogram(levels, truth, fov)
    ) == pytest.approx(3 / 4 * 1 / 3)


def test_probability_equal_to_the_vessel_fraction_is_calibrated():
    truth = np.arange(100).reshape(10, 10) < 40
    h = probability_metrics.histogram(
        np.full((10, 10), 26214, np.uint16), truth, np.ones_like(truth)
    )  # 26214 / 65535 = .4
    assert probability_metrics.expected_calibration_error(h) == pytest.approx(0, abs=1e-9)
    assert probability_metrics.brier_score(h) == pytest.approx(0.24)


def test_calibration_without_a_pixel_is_nan():
    assert math.isnan(probability_metrics.brier_score(probability_metrics.EMPTY))
    assert math.isnan(probability_metrics.expected_calibration_error(probability_metrics.EMPTY))


@pytest.mark.parametrize("sharpness", [0.1, 0.3, 1.0])
def test_threshold_of_highest_expected_f1_is_the_best_one_where_probabilities_are_right(sharpness):
    rng = np.random.default_rng(1)
    probability = rng.beta(sharpness, 5 * sharpness, (1, 400_000))
    truth = rng.random(probability.shape) < probability
    image = probability_metrics.histogram(probability_levels.to_levels(probability), truth, np.ones_like(truth))
    expected = probability_metrics.expected_f1_threshold(image.vessel + image.background)
    best = probability_metrics.best_threshold(image)
    assert dice(probability_metrics.counts_above(image, expected)) == pytest.approx(
        dice(probability_metrics.counts_above(image, best)), abs=0.002
    )


def test_highest_expected_f1_is_that_of_its_threshold_where_probabilities_are_right():
    rng = np.random.default_rng(1)
    probability = rng.beta(0.3, 1.5, (1, 400_000))
    truth = rng.random(probability.shape) < probability
    image = probability_metrics.histogram(probability_levels.to_levels(probability), truth, np.ones_like(truth))
    counts = image.vessel + image.background
    threshold = probability_metrics.expected_f1_threshold(counts)
    found = dice(probability_metrics.counts_above(image, threshold))
    assert probability_metrics.highest_expected_f1(counts) == pytest.approx(found, abs=0.003)
    assert probability_metrics.highest_expected_f1(np.bincount([0, 0], minlength=LEVELS)) == 0


@pytest.mark.parametrize("level", [1, 1000, LEVELS - 1])
def test_expected_f1_of_one_level_is_highest_at_every_threshold_below_it(level):
    counts = np.zeros(LEVELS, int)
    counts[level] = 10
    assert 0 <= probability_metrics.expected_f1_threshold(counts) < level / (LEVELS - 1)
