"""Intervals of means over images, and of paired differences, by bootstrap over persons (groups).

The kind is the studentised bootstrap (bootstrap-t; Efron & Tibshirani, An Introduction to the Bootstrap, 1993,
ch. 12.5; Davison & Hinkley, 1997, ch. 5): of those tried, it alone covers at its nominal 95 % with twenty images,
also where scores are skewed (`python -m benchmarks.coverage` prints the table).
"""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from scipy import stats

LEVEL = 0.95
LEAST_GROUPS = 4  # with three, resamples are so few that 95 % intervals cover about 80 %


class Interval(NamedTuple):
    """A mean over images with its standard deviation (n - 1) and its 95 % interval [low, high]."""

    mean: float
    sd: float
    low: float
    high: float
    images: int
    groups: int

    def within(self, least: float, most: float) -> "Interval":
        """The same with its ends cut to the values that the score can have; it covers as often."""
        return self._replace(low=float(np.clip(self.low, least, most)), high=float(np.clip(self.high, least, most)))


class Difference(NamedTuple):
    """Mean of paired differences, its 95 % interval, Wilcoxon's p over groups, and images won and lost."""

    mean: float
    low: float
    high: float
    p: float
    won: int
    lost: int
    images: int
    groups: int


def of_mean(values: np.ndarray, groups: np.ndarray, draws: int, seed: int) -> Interval:
    """The mean of a score (N,) over images, and its interval by bootstrap over `groups` (N,).

    Images without a score (NaN) do not count; `images` says how many did. NaN where there is none; the interval is
    NaN with fewer than LEAST_GROUPS groups, the deviation with fewer than two images.

    >>> of_mean(np.array([0.5, 0.5, 0.5, 0.5]), np.array(["a", "b", "c", "d"]), draws=100, seed=1)
    Interval(mean=0.5, sd=0.0, low=0.5, high=0.5, images=4, groups=4)
    """
    known = np.isfinite(values)
    values, groups = np.asarray(values, float)[known], np.asarray(groups)[known]
    if not len(values):
        return Interval(math.nan, math.nan, math.nan, math.nan, 0, 0)
    sizes, sums = _by_group(values, groups)
    sd = float(values.std(ddof=1)) if len(values) > 1 else math.nan
    low, high = _bootstrap_t(sizes, sums, draws, seed)
    return Interval(float(values.mean()), sd, low, high, len(values), len(sizes))


def paired(
    values: np.ndarray, others: np.ndarray, groups: np.ndarray, lower: bool, draws: int, seed: int
) -> Difference:
    """The mean of `values` - `others` (N,) of the same images; `lower` says that the lower score is the better.

    Images in which either is NaN do not count. p is that of Wilcoxon's signed-rank test on the mean difference of
    each group (Wilcoxon, 1945), 1 where nothing differs; NaN with fewer than LEAST_GROUPS groups.
    """
    differences = np.asarray(values, float) - np.asarray(others, float)
    interval = of_mean(differences, groups, draws, seed)
    known = np.isfinite(differences)
    sizes, sums = _by_group(differences[known], np.asarray(groups)[known])
    better = -differences[known] if lower else differences[known]
    return Difference(
        mean=interval.mean,
        low=interval.low,
        high=interval.high,
        p=_wilcoxon(sums / sizes),
        won=int((better > 0).sum()),
        lost=int((better < 0).sum()),
        images=interval.images,
        groups=interval.groups,
    )


def _by_group(values: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of images and sum of values of each group, (G,) each."""
    _, index, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    return sizes, np.bincount(index, values, len(sizes))


def _bootstrap_t(sizes: np.ndarray, sums: np.ndarray, draws: int, seed: int) -> tuple[float, float]:
    """The interval of the mean sum(sums) / sum(sizes) over G groups, drawn with replacement."""
    if len(sizes) < LEAST_GROUPS:
        return math.nan, math.nan
    centre, error = (float(value) for value in _mean_and_error(sizes, sums, np.ones((1, len(sizes)))).ravel())
    if error <= 1e-12 * max(abs(centre), 1.0):  # all groups alike
        return centre, centre
    means, errors = _mean_and_error(sizes, sums, _times_drawn(len(sizes), draws, seed))
    known = errors > 1e-9 * error  # one group, drawn over and over, has no spread
    t = (means[known] - centre) / errors[known]
    tails = np.quantile(t, [(1 + LEVEL) / 2, (1 - LEVEL) / 2])
    return tuple(float(end) for end in centre - tails * error)


def _mean_and_error(sizes: np.ndarray, sums: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Means and their standard errors (2, B) where group g is taken times[b, g] times; errors by linearisation."""
    number = times @ sizes
    means = times @ sums / number
    residuals = sums - means[:, None] * sizes
    groups = times.sum(axis=1)
    variances = groups / (groups - 1) * (times * residuals**2).sum(axis=1) / number**2
    return np.stack([means, np.sqrt(variances)])


@lru_cache(maxsize=32)
def _times_drawn(groups: int, draws: int, seed: int) -> np.ndarray:
    """How often each group is drawn in each of the `draws`, (draws, G)."""
    rng = np.random.default_rng([seed, groups])
    return rng.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(float)


def _wilcoxon(differences: np.ndarray) -> float:
    if len(differences) < LEAST_GROUPS:
        return math.nan
    if not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="wilcox", method="auto").pvalue)
