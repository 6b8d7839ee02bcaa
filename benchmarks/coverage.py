"""Print how often 95 % intervals of the mean hold the true mean, by kind of bootstrap and kind of score."""

from collections.abc import Callable

import numpy as np
from scipy import stats

from src import intervals

TRIALS, DRAWS = 1000, 2000
MEAN = 0.8
SCORES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "normal": lambda rng, n: rng.normal(MEAN, 0.02, n),
    "beta": lambda rng, n: rng.beta(20, 5, n),
    "skewed": lambda rng, n: 1 - 0.1 * rng.gamma(2, 1, n),
}


def percentile(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """SciPy's percentile interval."""
    return _scipy(values, rng, "percentile")


def bias_corrected(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """SciPy's BCa interval."""
    return _scipy(values, rng, "BCa")


def studentised(values: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The interval of `src.intervals`."""
    found = intervals.of_mean(values, np.arange(len(values)), DRAWS, int(rng.integers(2**31)))
    return found.low, found.high


def _scipy(values: np.ndarray, rng: np.random.Generator, method: str) -> tuple[float, float]:
    found = stats.bootstrap((values,), np.mean, n_resamples=DRAWS, method=method, vectorized=True, rng=rng)
    return tuple(found.confidence_interval)


def paired_eyes(rng: np.random.Generator, persons: int) -> bool:
    """Whether the interval by person holds the mean where two eyes of a person are alike."""
    values = MEAN + np.repeat(rng.normal(0, 0.02, persons), 2) + rng.normal(0, 0.01, 2 * persons)
    found = intervals.of_mean(values, np.arange(2 * persons) // 2, DRAWS, int(rng.integers(2**31)))
    return found.low <= MEAN <= found.high


def main() -> None:
    """Draw scores with a known mean again and again; count."""
    for number in (intervals.LEAST_GROUPS, 8, 20):
        for name, draw in SCORES.items():
            for kind in (percentile, bias_corrected, studentised):
                rng = np.random.default_rng(1)
                held = [low <= MEAN <= high for low, high in (kind(draw(rng, number), rng) for _ in range(TRIALS))]
                print(f"{number:3} images, {name:7} {kind.__name__:15} covers {100 * np.mean(held):.1f} %")
    for persons in (4, 10):
        rng = np.random.default_rng(1)
        held = [paired_eyes(rng, persons) for _ in range(TRIALS)]
        print(f"{persons:3} persons, two eyes each, studentised covers {100 * np.mean(held):.1f} %")


if __name__ == "__main__":
    main()
