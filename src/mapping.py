"""Probability maps of all photographs of a subset, at their native resolution."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from src import metrics, samples, segment
from src.predictor import Maps, Predictor

Mapped = tuple[samples.Sample, Maps]


def maps(root: Path, predictor: Predictor, fov_diameter: int, clahe: float) -> Iterator[Mapped]:
    """Each sample below `root` with its maps (H, W), see `segment.photograph`."""
    for sample in tqdm(samples.find(root, least=0), desc=f"predict {root.name}", unit="image"):
        image, fov = samples.image(sample), samples.fov(sample)
        yield sample, segment.photograph(image, fov, predictor, fov_diameter, clahe)


def pooled(mapped: Iterable[Mapped]) -> metrics.Histogram:
    """All pixels in the FOV of all images, by probability and truth."""
    total = metrics.EMPTY
    for sample, found in mapped:
        total += metrics.histogram(samples.to_levels(found.probability), samples.truth(sample), samples.fov(sample))
    return total
