"""Predictions of all images of a subset, at their native size."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

from src.common import probability_levels
from src.data import samples
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, Prediction, SlidingWindowPredictor
from src.metrics import probability_metrics

PredictedSample = tuple[samples.Sample, Prediction]


def predict_subset(
    root: Path, predictor: SlidingWindowPredictor, fov_diameter: int, clahe_clip_limit: float
) -> Iterator[PredictedSample]:
    """Yield each sample below `root` with its prediction (H, W); see `segmentation.segment_image`."""
    for sample in tqdm(samples.find(root, least=0), desc=f"predict {root.name}", unit="image"):
        image, fov = samples.image(sample), samples.fov(sample)
        yield sample, segmentation.segment_image(image, fov, predictor, fov_diameter, clahe_clip_limit)


def connect_vessels(predicted: Iterable[PredictedSample], config: InferenceConfig) -> Iterator[PredictedSample]:
    """Extend thin vessels and drop isolated pieces in maps that were predicted without."""
    for sample, prediction in predicted:
        connected = segmentation.connect_vessels(prediction.probability, samples.fov(sample), config)
        yield sample, prediction._replace(probability=connected)


def pool_histograms(predicted: Iterable[PredictedSample]) -> dict[str, probability_metrics.Histogram]:
    """Count all pixels in the FOV of all images of each data set, by probability and ground truth."""
    pooled: dict[str, probability_metrics.Histogram] = {}
    for sample, prediction in predicted:
        levels = probability_levels.to_levels(prediction.probability)
        of_image = probability_metrics.histogram(levels, samples.truth(sample), samples.fov(sample))
        pooled[sample.dataset] = pooled.get(sample.dataset, probability_metrics.EMPTY) + of_image
    return pooled
