"""Scores of a vessel map that overlap does not see: centrelines, widths, distances and connections.

All is taken inside the FOV: a drawing is first cut to it, and what lies outside is background. Lengths are in pixels
of a FOV 540 pixels wide (that of DRIVE), whatever the resolution of the photograph, so data sets can be compared.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np
from skimage.morphology import skeletonize

REFERENCE_DIAMETER = 540  # pixels of the FOV that lengths are given in
WIDTHS = ("thin", "middle", "thick")


class Drawing(NamedTuple):
    """A vessel map and what its scores need of it; made by `describe`, once for all maps it is compared with.

    The maps are (H, W): bool, but `width_class` int8, the place in WIDTHS (-1 where no vessel is), and `distance`
    float32, that to the nearest boundary pixel (inf without vessels).
    """

    vessels: np.ndarray
    centreline: np.ndarray
    width_class: np.ndarray
    boundary: np.ndarray
    distance: np.ndarray
    components: int
    loops: int


def describe(drawing: np.ndarray, fov: np.ndarray, limits: tuple[float, float]) -> Drawing:
    """A drawing, truth or prediction, made ready for `scores`; drawing and fov (H, W) bool.

    Args:
        drawing: vessels; what lies outside the FOV is left out.
        fov: field of view; its diameter is the larger side of its bounding box.
        limits: widths from which a vessel is middle and from which it is thick. Drawn widths are whole pixels, and
            the FOVs of one data set differ by some: 2.5 parts them in all photographs alike, 3 does not.

    Raises:
        ValueError: another type or shape, or limits that do not rise from above 0.
    """
    for name, array in (("drawing", drawing), ("fov", fov)):
        if array.dtype != bool or array.ndim != 2 or array.shape != fov.shape:
            raise ValueError(f"{name}: expected bool of shape {fov.shape}, got {array.dtype} {array.shape}")
    if not 0 < limits[0] < limits[1]:
        raise ValueError(f"limits: expected two widths that rise from above 0, got {limits}")
    scale = diameter(fov) / REFERENCE_DIAMETER
    vessels = drawing & fov
    centreline = skeletonize(vessels)
    edge = boundary(vessels)
    distance = _distance_to(edge) / np.float32(scale or 1)
    width_class = _width_class(vessels, centreline, np.multiply(limits, scale))
    return Drawing(vessels, centreline, width_class, edge, distance, components(vessels), loops(vessels))


def scores(truth: Drawing, predicted: Drawing) -> dict[str, float]:
    """Every score of this module, by its reported name.

    `recall_thin` etc.: share of the truth's vessel pixels, by the width of the vessel they belong to, that are
    predicted. `precision_thin` etc.: share of the predicted pixels, by the width of the *predicted* vessel, that are
    in the truth. A pixel belongs to the nearest pixel of the centreline. NaN where there is no pixel of that width.

    Raises:
        ValueError: the two differ in shape.
    """
    if truth.vessels.shape != predicted.vessels.shape:
        raise ValueError(f"predicted: expected {truth.vessels.shape} like the truth, got {predicted.vessels.shape}")
    result = {"cldice": cldice(truth, predicted)}
    for name, drawing, other in (("recall", truth, predicted), ("precision", predicted, truth)):
        shares = _shares_by_width(drawing, other)
        result |= {f"{name}_{width}": share for width, share in zip(WIDTHS, shares, strict=True)}
    return result | distances(truth, predicted) | betti_errors(truth, predicted)


def cldice(truth: Drawing, predicted: Drawing) -> float:
    """Centreline Dice, [0, 1] (Shit et al., CVPR 2021): does each centreline lie within the other's vessels?

    Harmonic mean of topology precision (share of the predicted centreline in the truth) and topology sensitivity
    (share of the truth's centreline in the prediction). NaN when neither has a vessel, 0 when only one has.
    """
    if not truth.centreline.any() and not predicted.centreline.any():
        return math.nan
    if not truth.centreline.any() or not predicted.centreline.any():
        return 0.0
    sensitivity = float(predicted.vessels[truth.centreline].mean())
    precision = float(truth.vessels[predicted.centreline].mean())
    return 2 * precision * sensitivity / (precision + sensitivity) if precision + sensitivity else 0.0


def distances(truth: Drawing, predicted: Drawing) -> dict[str, float]:
    """How far the boundaries lie apart, lower is better, 0 for equal maps; NaN when either has no vessel.

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


def betti_errors(truth: Drawing, predicted: Drawing) -> dict[str, float]:
    """By how many the numbers of components and of loops differ; lower is better, always defined.

    The numbers are those of the whole FOV: a piece too many here and one too few there cancel.
    """
    return {
        "betti_0_error": float(abs(predicted.components - truth.components)),
        "betti_1_error": float(abs(predicted.loops - truth.loops)),
    }


def diameter(fov: np.ndarray) -> int:
    """The larger side of the bounding box of an (H, W) bool FOV, in pixels; 0 when it is empty."""
    places = (np.flatnonzero(fov.any(axis=axis)) for axis in (0, 1))
    return max((int(np.ptp(place)) + 1 if place.size else 0) for place in places)


def widths(vessels: np.ndarray, centreline: np.ndarray) -> np.ndarray:
    """Width in pixels of the vessels (H, W) bool at each pixel of the centreline (H, W) bool, (N,) float32.

    It is the depth of the map drawn at twice its size, at the deepest quarter of the pixel. At its own size a depth
    d stands for 2d - 1 and for 2d pixels alike, since an even width has its middle between two pixels.

    >>> bar = np.ones((2, 5), bool)
    >>> widths(bar, skeletonize(bar)).max()
    np.float32(2.0)
    """
    twice = np.pad(vessels.repeat(2, axis=0).repeat(2, axis=1), 1)
    depth = cv2.distanceTransform(twice.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.nonzero(centreline)
    return np.max([depth[2 * row + i, 2 * column + j] for i in (1, 2) for j in (1, 2)], axis=0)


def boundary(vessels: np.ndarray) -> np.ndarray:
    """Vessel pixels with background above, below, left or right of them, (H, W) bool, like MONAI's and MedPy's.

    Beyond the edge of the picture is background.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    core = cv2.erode(vessels.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return vessels & (core == 0)


def components(vessels: np.ndarray) -> int:
    """Pieces of an (H, W) bool map, the 0th Betti number; pixels that touch at a corner are one piece."""
    return cv2.connectedComponents(vessels.astype(np.uint8), connectivity=8)[0] - 1


def loops(vessels: np.ndarray) -> int:
    """Holes of an (H, W) bool map, the 1st Betti number: pieces of background that vessels enclose.

    Background that reaches the edge of the picture or of the FOV is joined to the outside, and is no hole.
    """
    background = np.pad(~vessels, 1, constant_values=True)
    return cv2.connectedComponents(background.astype(np.uint8), connectivity=4)[0] - 2


def _shares_by_width(drawing: Drawing, other: Drawing) -> list[float]:
    """Share of the drawing's vessel pixels of each width that the other has too."""
    pixels, shared = (
        np.bincount(drawing.width_class[part], minlength=len(WIDTHS))
        for part in (drawing.vessels, drawing.vessels & other.vessels)
    )
    return [float(s / n) if n else math.nan for s, n in zip(shared, pixels, strict=True)]


def _width_class(vessels: np.ndarray, centreline: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The place in WIDTHS of each vessel pixel, (H, W) int8: that of the nearest centreline, among equals the thinner.

    Every piece of a map keeps a centreline pixel, so each vessel pixel has one.
    """
    at_line = np.full(vessels.shape, -1, np.int8)
    at_line[centreline] = np.digitize(widths(vessels, centreline), limits)
    squared = [np.square(_distance_to(at_line == place)[vessels]) for place in range(len(WIDTHS))]
    result = np.full(vessels.shape, -1, np.int8)
    result[vessels] = np.argmin(np.rint(squared), axis=0)  # squares are whole numbers: equal ones stay equal
    return result


def _distance_to(pixels: np.ndarray) -> np.ndarray:
    """Distance to the nearest of `pixels` (H, W) bool, (H, W) float32; inf when there is none."""
    if not pixels.any():
        return np.full(pixels.shape, np.inf, np.float32)
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
