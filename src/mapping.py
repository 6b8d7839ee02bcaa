"""Probability maps of all photographs of a subset, at their native resolution."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src import metrics, predict, samples, segment

Mapped = tuple[samples.Sample, np.ndarray]


def maps(root: Path, predictor: predict.Predictor, fov_diameter: int, clahe: float) -> Iterator[Mapped]:
    """Each sample below `root` with its probability map (H, W), see `segment.photograph`."""
    for sample in tqdm(samples.find(root, least=0), desc=f"predict {root.name}", unit="image"):
        image, fov = samples.image(sample), samples.fov(sample)
        yield sample, segment.photograph(image, fov, predictor, fov_diameter, clahe)


def pooled(mapped: Iterable[Mapped]) -> metrics.Histogram:
    """All pixels in the FOV of all images, by probability and truth."""
    total = metrics.EMPTY
    for sample, probability in mapped:
        total += metrics.histogram(samples.to_levels(probability), samples.truth(sample), samples.fov(sample))
    return total
