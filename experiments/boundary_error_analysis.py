"""Measure how many errors lie at vessel boundaries: python -m experiments.boundary_error_analysis DATA.

DATA is a folder of real images as stage download writes it (`data/raw/test`). Compared with the first observer, in the
FOV: the same annotation shifted, dilated or eroded by one pixel, the second observer, and the shipped network at its
threshold. Beside F1, pooled over images, stand two fractions: of the false positives, those that touch an annotated
vessel; of the false negatives, those that touch a predicted one (at a side or a corner).
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from experiments import short_training
from experiments.result_writer import RESULTS, ResultWriter, Value
from src.data import samples
from src.inference import onnx_model
from src.metrics import confusion_matrix

SHIPPED = Path("models/compact.onnx")
NEIGHBOURHOOD = np.ones((3, 3), bool)
ONE_PIXEL = np.ones((2, 2), bool)  # dilation or erosion with it changes the width of each vessel by one pixel
COLUMNS = (
    *("segmentation", "n_images", "pooled_f1"),
    *("false_positives_touching_a_vessel", "false_negatives_touching_a_prediction"),
)
Segmentation = Callable[[samples.Sample], np.ndarray | None]


class BoundaryErrors(NamedTuple):
    """Pixel counts in the FOV, and how many false positives and negatives touch a vessel of the other map."""

    counts: confusion_matrix.Counts
    touching_fp: int
    touching_fn: int


def compare(truth: np.ndarray, predicted: np.ndarray, fov: np.ndarray) -> BoundaryErrors:
    """Count errors, and those at a boundary; all three arrays (H, W) bool."""
    truth, predicted = truth & fov, predicted & fov
    touching_fp = predicted & ~truth & ndimage.binary_dilation(truth, NEIGHBOURHOOD)
    touching_fn = truth & ~predicted & ndimage.binary_dilation(predicted, NEIGHBOURHOOD)
    counts = confusion_matrix.count(truth, predicted, fov)
    return BoundaryErrors(counts, int(np.count_nonzero(touching_fp)), int(np.count_nonzero(touching_fn)))


def shift(truth: np.ndarray) -> np.ndarray:
    """Shift an annotation (H, W) by one pixel to the right."""
    return np.pad(truth, ((0, 0), (1, 0)))[:, :-1]


def dilate(truth: np.ndarray) -> np.ndarray:
    """Make every vessel of an annotation (H, W) one pixel wider."""
    return ndimage.binary_dilation(truth, ONE_PIXEL)


def erode(truth: np.ndarray) -> np.ndarray:
    """Make every vessel of an annotation (H, W) one pixel narrower."""
    return ndimage.binary_erosion(truth, ONE_PIXEL, border_value=1)


def predict(network: onnx_model.OnnxModel, sample: samples.Sample) -> np.ndarray:
    """Segment the vessels (H, W) of an image by a packaged network."""
    return network.binarize(network.predict(samples.image(sample), samples.fov(sample)).probability)


def change_annotation(change: Callable[[np.ndarray], np.ndarray], sample: samples.Sample) -> np.ndarray:
    """Return the first observer's annotation (H, W), changed."""
    return change(samples.truth(sample))


def segmentations(network: onnx_model.OnnxModel) -> Iterator[tuple[str, Segmentation]]:
    """Yield each segmentation that is compared, by name."""
    for name, change in (("shifted", shift), ("dilated", dilate), ("eroded", erode)):
        yield f"first observer, {name} by one pixel", partial(change_annotation, change)
    yield "second observer", samples.second_observer
    yield str(SHIPPED), partial(predict, network)


def pool_errors(segmentation: Segmentation, images: Iterable[samples.Sample]) -> dict[str, Value] | None:
    """Pool the errors over images, by columns of the table; None where no image has such a segmentation."""
    pairs = ((sample, segmentation(sample)) for sample in images)
    each = [compare(samples.truth(s), predicted, samples.fov(s)) for s, predicted in pairs if predicted is not None]
    if not each:
        return None
    pooled = confusion_matrix.sum_counts([errors.counts for errors in each])
    touching_fp, touching_fn = sum(errors.touching_fp for errors in each), sum(errors.touching_fn for errors in each)
    return {
        "n_images": len(each),
        "pooled_f1": confusion_matrix.dice(pooled),
        "false_positives_touching_a_vessel": touching_fp / pooled.fp if pooled.fp else None,
        "false_negatives_touching_a_prediction": touching_fn / pooled.fn if pooled.fn else None,
    }


def main() -> None:
    """Write a row for each segmentation."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.boundary_error_analysis", description=__doc__.splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--results", type=Path, default=RESULTS / "boundary_errors.csv", help="CSV to write")
    arguments = parser.parse_args()
    images = short_training.find_real_images(arguments.data)
    writer = ResultWriter(arguments.results, COLUMNS)
    for name, segmentation in segmentations(onnx_model.OnnxModel(SHIPPED)):
        if values := pool_errors(segmentation, tqdm(images, desc=name, unit="image", leave=False)):
            writer.add(segmentation=name, **values)


if __name__ == "__main__":
    main()
