"""Simulate how often 95 % intervals of the mean cover the true mean: python -m experiments.interval_coverage.

Intervals of three kinds of bootstrap, of scores from four distributions, with few and many images; and those by
patient, where two images of a patient are alike.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats
from tqdm import tqdm

from experiments.result_writer import RESULTS, ResultWriter
from src.metrics import bootstrap

Interval = tuple[float, float]
Draw = Callable[[np.random.Generator, int], np.ndarray]
RESAMPLES, SEED = 2000, 1
TRUE_MEAN = 0.8
DISTRIBUTIONS: dict[str, Draw] = {
    "normal": lambda rng, n: rng.normal(TRUE_MEAN, 0.02, n),
    "beta": lambda rng, n: rng.beta(20, 5, n),
    "skewed (1 - gamma)": lambda rng, n: 1 - 0.1 * rng.gamma(2, 1, n),
    "counts (Poisson)": lambda rng, n: rng.poisson(TRUE_MEAN, n).astype(float),
}
IMAGES = (bootstrap.MIN_GROUPS, 8, 20)
PATIENTS = (4, 10)  # with two images each
COLUMNS = ("bootstrap", "distribution", "n_images", "n_patients", "n_simulations", "coverage")


def percentile(values: np.ndarray, rng: np.random.Generator) -> Interval:
    """Compute SciPy's percentile interval."""
    return _scipy_interval(values, rng, "percentile")


def bias_corrected(values: np.ndarray, rng: np.random.Generator) -> Interval:
    """Compute SciPy's bias-corrected and accelerated interval (BCa)."""
    return _scipy_interval(values, rng, "BCa")


def studentised(values: np.ndarray, rng: np.random.Generator) -> Interval:
    """Compute the interval of `src.metrics.bootstrap`."""
    return _studentised_by_group(values, np.arange(len(values)), rng)


def _scipy_interval(values: np.ndarray, rng: np.random.Generator, method: str) -> Interval:
    found = stats.bootstrap((values,), np.mean, n_resamples=RESAMPLES, method=method, vectorized=True, rng=rng)
    return found.confidence_interval.low, found.confidence_interval.high


def _studentised_by_group(values: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Interval:
    found = bootstrap.mean_interval(values, groups, RESAMPLES, int(rng.integers(2**31)))
    return found.low, found.high


def one_image_per_patient(
    draw: Draw, n_images: int, interval: Callable[[np.ndarray, np.random.Generator], Interval], rng: np.random.Generator
) -> Interval:
    """Simulate scores of independent images; compute the interval."""
    return interval(draw(rng, n_images), rng)


def two_images_per_patient(patients: int, rng: np.random.Generator) -> Interval:
    """Simulate scores of two images of each patient, which are alike; compute the interval by patient."""
    of_patient, of_image = rng.normal(0, 0.02, patients), rng.normal(0, 0.01, 2 * patients)
    values = TRUE_MEAN + np.repeat(of_patient, 2) + of_image
    return _studentised_by_group(values, np.arange(2 * patients) // 2, rng)


def coverage(simulate: Callable[[np.random.Generator], Interval], simulations: int) -> float:
    """Return the fraction of simulated intervals that cover the true mean."""
    rng = np.random.default_rng(SEED)
    return float(np.mean([low <= TRUE_MEAN <= high for low, high in (simulate(rng) for _ in range(simulations))]))


def main() -> None:
    """Write a row for each kind of bootstrap, distribution and number of images."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.interval_coverage", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--simulations", type=int, default=1000, help="of each row (default: 1000)")
    parser.add_argument("--results", type=Path, default=RESULTS / "interval_coverage.csv", help="CSV to write")
    arguments = parser.parse_args()
    simulations = arguments.simulations
    writer = ResultWriter(arguments.results, COLUMNS)
    with tqdm(total=len(IMAGES) * len(DISTRIBUTIONS) * 3 + len(PATIENTS), unit="row") as progress:
        for n_images in IMAGES:
            for name, draw in DISTRIBUTIONS.items():
                for interval in (percentile, bias_corrected, studentised):
                    covered = coverage(partial(one_image_per_patient, draw, n_images, interval), simulations)
                    writer.add(
                        bootstrap=interval.__name__,
                        distribution=name,
                        n_images=n_images,
                        n_patients=n_images,
                        n_simulations=simulations,
                        coverage=covered,
                    )
                    progress.update()
        for patients in PATIENTS:
            covered = coverage(partial(two_images_per_patient, patients), simulations)
            writer.add(
                bootstrap="studentised",
                distribution="two images per patient",
                n_images=2 * patients,
                n_patients=patients,
                n_simulations=simulations,
                coverage=covered,
            )
            progress.update()


if __name__ == "__main__":
    main()
