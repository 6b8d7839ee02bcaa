"""Structural scores of a vessel map: centreline Dice, recall and precision by vessel width, distances, Betti errors.

Everything is measured inside the field of view (FOV). Lengths are in pixels of the reference FOV, whatever the
resolution of the image, so that data sets can be compared; see `src.common.reference_scale`.
"""

import math

import numpy as np

from src.metrics.vessel_geometry import WIDTH_CLASSES, VesselGeometry


def structural_scores(truth: VesselGeometry, predicted: VesselGeometry) -> dict[str, float]:
    """Compute every score of this module, by its reported name.

    `recall_thin` etc.: fraction of the vessel pixels of the ground truth, by the width of their vessel, that are
    predicted. `precision_thin` etc.: fraction of the predicted pixels, by the width of the *predicted* vessel, that are
    in the ground truth. A pixel has the width of the nearest skeleton pixel. NaN where no pixel has that width.

    Raises:
        ValueError: the two differ in shape.
    """
    if truth.vessels.shape != predicted.vessels.shape:
        raise ValueError(f"predicted: expected {truth.vessels.shape} like the truth, got {predicted.vessels.shape}")
    result = {"cldice": cldice(truth, predicted)}
    for name, vessels, other in (("recall", truth, predicted), ("precision", predicted, truth)):
        fractions = _overlap_by_width(vessels, other)
        result |= {f"{name}_{width}": fraction for width, fraction in zip(WIDTH_CLASSES, fractions, strict=True)}
    return result | boundary_distances(truth, predicted) | betti_errors(truth, predicted)


def cldice(truth: VesselGeometry, predicted: VesselGeometry) -> float:
    """Centreline Dice, in [0, 1] (Shit et al., CVPR 2021).

    Harmonic mean of topology precision (fraction of the predicted skeleton in the ground truth) and topology
    sensitivity (fraction of the ground truth's skeleton in the prediction). NaN when neither map has a vessel, 0 when
    only one has.
    """
    if not truth.skeleton.any() and not predicted.skeleton.any():
        return math.nan
    if not truth.skeleton.any() or not predicted.skeleton.any():
        return 0.0
    sensitivity = float(predicted.vessels[truth.skeleton].mean())
    precision = float(truth.vessels[predicted.skeleton].mean())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def boundary_distances(truth: VesselGeometry, predicted: VesselGeometry) -> dict[str, float]:
    """Compute distances between both boundaries, lower is better, 0 for equal maps; NaN when either has no vessel.

    From each boundary pixel to the nearest one of the other map, both ways. `hausdorff` is the largest distance;
    `hausdorff_95` the larger of the 95th percentiles of the two ways (MONAI's; MedPy takes that of both together);
    `surface_distance` the mean over the boundary pixels of both (MONAI's and MedPy's).
    """
    if not truth.boundary.any() or not predicted.boundary.any():
        return dict.fromkeys(("hausdorff", "hausdorff_95", "surface_distance"), math.nan)
    ways = predicted.distance[truth.boundary], truth.distance[predicted.boundary]
    return {
        "hausdorff": max(float(way.max()) for way in ways),
        "hausdorff_95": max(float(np.percentile(way, 95)) for way in ways),
        "surface_distance": float(np.concatenate(ways).mean(dtype=float)),
    }


def betti_errors(truth: VesselGeometry, predicted: VesselGeometry) -> dict[str, float]:
    """Compute the absolute differences in connected components and in loops; lower is better, always defined.

    Both are counted over the whole FOV: one component too many and one too few cancel.
    """
    return {
        "betti_0_error": float(abs(predicted.components - truth.components)),
        "betti_1_error": float(abs(predicted.loops - truth.loops)),
    }


def _overlap_by_width(vessels: VesselGeometry, other: VesselGeometry) -> list[float]:
    """Compute the fraction of vessel pixels of each width class that the other map has, too."""
    pixels, common = (
        np.bincount(vessels.width_class[part], minlength=len(WIDTH_CLASSES))
        for part in (vessels.vessels, vessels.vessels & other.vessels)
    )
    return [float(n / total) if total else math.nan for n, total in zip(common, pixels, strict=True)]
