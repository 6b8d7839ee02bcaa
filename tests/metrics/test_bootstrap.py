import math

import numpy as np
import pytest
from scipy import stats

from src.metrics import bootstrap

SCORES = np.random.default_rng(1).normal(0.8, 0.02, 20)
ALONE = np.arange(20).astype(str)


def of_mean(values, groups=ALONE, resamples=2000, seed=1):
    return bootstrap.mean_interval(np.asarray(values, float), np.asarray(groups), resamples, seed)


def paired(values, others, groups=ALONE, lower_is_better=False):
    return bootstrap.paired_difference(
        np.asarray(values), np.asarray(others), np.asarray(groups), lower_is_better, 2000, 1
    )


def test_mean_and_deviation_are_those_of_numpy():
    found = of_mean(SCORES)
    assert (found.mean, found.sd) == pytest.approx((SCORES.mean(), SCORES.std(ddof=1)))
    assert (found.images, found.groups) == (20, 20)


def test_interval_of_normal_scores_is_near_that_of_student():
    low, high = stats.t.interval(0.95, 19, SCORES.mean(), stats.sem(SCORES))
    found = of_mean(SCORES, resamples=20000)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))


def test_interval_is_longer_towards_the_long_tail():
    skewed = 1 - np.random.default_rng(2).gamma(1, 0.1, 20)
    found = of_mean(skewed)
    assert found.mean - found.low > 1.2 * (found.high - found.mean)


@pytest.mark.parametrize("kind", ["normal", "beta", "skewed"])
def test_intervals_cover_at_their_level(kind):
    rng = np.random.default_rng(3)
    draw = {
        "normal": lambda: rng.normal(0.8, 0.02, 20),
        "beta": lambda: rng.beta(20, 5, 20),
        "skewed": lambda: 1 - 0.1 * rng.gamma(2, 1, 20),
    }[kind]
    found = [of_mean(draw(), resamples=500, seed=seed) for seed in range(1000)]
    assert 0.93 <= np.mean([low <= 0.8 <= high for _, _, low, high, _, _ in found]) <= 0.97


def test_interval_of_equal_scores_but_one_reaches_the_other_scores():
    found = of_mean([0.0] * 7 + [-0.2], ALONE[:8])
    assert (found.low, found.mean) == (-0.2, -0.025)
    assert found.mean < found.high <= 0.01


@pytest.mark.parametrize("images", [8, 20])
def test_intervals_of_scores_with_few_values_cover_at_least_at_their_level(images):
    rng, covered = np.random.default_rng(4), []
    for seed in range(500):
        values = rng.poisson(0.5, images)
        if len(set(values)) > 1:
            found = of_mean(values, ALONE[:images], resamples=500, seed=seed)
            covered.append(found.low <= 0.5 <= found.high)
    assert np.mean(covered) >= 0.93


def test_same_seed_same_interval_other_seed_another():
    assert of_mean(SCORES) == of_mean(SCORES)
    assert of_mean(SCORES).low != of_mean(SCORES, seed=2).low


def test_order_of_images_does_not_matter():
    reversed_ = of_mean(SCORES[::-1], ALONE[::-1])
    assert reversed_ == pytest.approx(of_mean(SCORES))


def test_two_equal_images_of_a_patient_count_as_one():
    alone, twice = of_mean(SCORES[:10], ALONE[:10]), of_mean(np.tile(SCORES[:10], 2), np.tile(ALONE[:10], 2))
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    assert (twice.images, twice.groups) == (20, 10)
    ungrouped = of_mean(np.tile(SCORES[:10], 2), ALONE)
    assert ungrouped.high - ungrouped.low < 0.8 * (alone.high - alone.low)


def test_undefined_scores_are_left_out():
    values = SCORES.copy()
    values[3] = math.nan
    assert of_mean(values) == of_mean(np.delete(SCORES, 3), np.delete(ALONE, 3))


def test_no_image_has_no_mean():
    found = of_mean([math.nan], ["a"])
    assert found.images == found.groups == 0
    assert all(math.isnan(value) for value in found[:4])


def test_three_patients_have_a_mean_but_no_interval():
    found = of_mean([0.7, 0.8, 0.9, 0.8], ["a", "a", "b", "c"])
    assert found.mean == pytest.approx(0.8)
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_equal_scores_have_an_interval_of_no_width():
    found = of_mean(np.full(20, 0.1))
    assert found.low == found.high == found.mean == pytest.approx(0.1)


def test_paired_difference_of_a_run_with_itself_is_zero():
    found = paired(SCORES, SCORES)
    assert found[:4] == (0, 0, 0, 1)
    assert (found.better, found.worse) == (0, 0)


def test_p_is_that_of_scipy():
    others = SCORES + np.random.default_rng(4).normal(0.002, 0.004, 20)
    assert paired(SCORES, others).p == pytest.approx(stats.wilcoxon(SCORES, others).pvalue)


def test_paired_interval_excludes_0_where_unpaired_intervals_overlap():
    others = SCORES - 0.002 + np.random.default_rng(5).normal(0, 0.001, 20)
    found = paired(SCORES, others)
    assert found.low > 0
    assert found.p < 0.001
    assert of_mean(SCORES).low < others.mean()


@pytest.mark.parametrize(("lower_is_better", "better"), [(False, 15), (True, 5)])
def test_better_and_worse_follow_the_direction_of_the_score(lower_is_better, better):
    others = SCORES - np.where(np.arange(20) < 15, 0.01, -0.01)
    found = paired(SCORES, others, lower_is_better=lower_is_better)
    assert (found.better, found.worse) == (better, 20 - better)


def test_wilcoxon_counts_a_patient_once():
    differences = np.repeat(np.linspace(-0.01, 0.03, 10), 2)
    found = paired(SCORES + differences, SCORES, np.repeat(ALONE[:10], 2))
    assert found.p == pytest.approx(stats.wilcoxon(np.linspace(-0.01, 0.03, 10)).pvalue)
