"""Vascular biomarkers of a vessel map: density, length, width, branching and tortuosity of its vessels.

All are measured inside the field of view. Lengths are in pixels of a 540-pixel FOV, whatever the size of the image, so
that images can be compared. A biomarker is NaN where it is undefined: no vessels, nothing to fit.
"""

import math

import cv2
import numpy as np

from src.common import image_geometry
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.metrics import vessel_geometry
from src.metrics.skeletonization import skeletonize

BOXES_PER_DIAMETER = (4, 8, 16, 32, 64)  # the sides of the boxes that are counted are 1/4 to 1/64 of the FOV
MIN_CHORD = 10.0  # pixels of a 540-pixel FOV: shorter segments have no course to speak of
STEPS = {(0, 1): 1.0, (1, 0): 1.0, (1, 1): math.sqrt(2), (1, -1): math.sqrt(2)}  # to half of the eight neighbours
NAMES = (
    *("vessel_density", "fov_fraction", "skeleton_length", "mean_vessel_width", "fractal_dimension", "tortuosity"),
    "mean_uncertainty",
)


def measure_biomarkers(vessels: np.ndarray, fov: np.ndarray, uncertainty: np.ndarray | None) -> dict[str, float]:
    """Measure the biomarkers in NAMES of a vessel map (H, W) bool in its FOV (H, W) bool, which has a pixel.

    `vessel_density` is the fraction of vessel in the FOV, `fov_fraction` that of the FOV in the image;
    `mean_vessel_width` is over the skeleton; `mean_uncertainty` is over the FOV, NaN where `uncertainty` (H, W) is
    None. The others are documented at the functions of their names.
    """
    vessels = vessels & fov
    skeleton = skeletonize(vessels)
    diameter = image_geometry.fov_diameter(fov)
    scale = REFERENCE_FOV_DIAMETER / diameter
    widths = vessel_geometry.vessel_widths(vessels, skeleton)
    values = (
        vessels.sum() / fov.sum(),
        fov.mean(),
        skeleton_length(skeleton) * scale,
        widths.mean() * scale if widths.size else math.nan,
        fractal_dimension(skeleton, diameter),
        tortuosity(skeleton, MIN_CHORD / scale),
        math.nan if uncertainty is None else uncertainty[fov].mean(),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


def skeleton_length(skeleton: np.ndarray) -> float:
    """Return the length of a skeleton (H, W) bool in pixels: 1 for a straight step, the root of 2 for a diagonal one.

    It is that of Freeman's chain code (1970). A straight line at 22.5 degrees measures 8 % too long, the worst case. A
    single pixel has no length.
    """
    return float(sum(length * linked.sum() for length, linked in _links(skeleton)))


def fractal_dimension(skeleton: np.ndarray, diameter: float) -> float:
    """Return the box-counting dimension of a skeleton (H, W) bool: 1 for a straight line, 2 for a filled plane.

    The slope of log N over log k by least squares, N boxes that hold a pixel at a side of diameter / k, k in
    BOXES_PER_DIAMETER. The skeleton is counted, as in Liew et al. (Ophthalmology 115, 2008): it reflects branching, not
    width.
    """
    pixels = np.argwhere(skeleton)
    if not len(pixels):
        return math.nan
    pixels = pixels - pixels.min(axis=0)
    counts = [len({*zip(*(pixels * boxes // diameter).T.tolist(), strict=True)}) for boxes in BOXES_PER_DIAMETER]
    return float(np.polyfit(np.log(BOXES_PER_DIAMETER), np.log(counts), 1)[0])


def tortuosity(skeleton: np.ndarray, min_chord: float) -> float:
    """Return the arc length of the skeleton's segments over the distance of their ends, all together; 1 is straight.

    The ratio of arc to chord (Lotmar et al., 1979; Hart et al., Int. J. Med. Inform. 53, 1999), of the sums, so that
    long segments weigh more. Segments are what is left of the skeleton (H, W) bool without its branching points and the
    pixels around them; those whose ends are less than `min_chord` pixels apart do not count. As arcs are measured in
    steps, a straight line at 22.5 degrees has 1.08.
    """
    branching = skeleton & (_count_neighbours(skeleton) > 2)
    segments = skeleton & (cv2.dilate(branching.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    count, labels = cv2.connectedComponents(segments.astype(np.uint8), connectivity=8)
    arcs = np.zeros(count)
    for length, linked in _links(segments):
        arcs += length * np.bincount(labels[linked], minlength=count)
    ends = segments & (_count_neighbours(segments) == 1)
    chords = _end_distances(np.argwhere(ends), labels[ends], count)
    counted = chords >= min_chord
    return float(arcs[counted].sum() / chords[counted].sum()) if counted.any() else math.nan


def _links(skeleton: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """Return for each of STEPS its length and the pixels (H, W) bool from which it leads to another skeleton pixel.

    A diagonal step that can also be taken in two straight ones is no link.
    """
    padded = np.pad(skeleton, 1)
    height, width = skeleton.shape

    def shifted(row: int, column: int) -> np.ndarray:
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    links = []
    for (row, column), length in STEPS.items():
        linked = skeleton & shifted(row, column)
        if row and column:
            linked &= ~(shifted(row, 0) | shifted(0, column))
        links.append((length, linked))
    return links


def _count_neighbours(skeleton: np.ndarray) -> np.ndarray:
    """Count the neighbours to which each pixel is linked, (H, W) uint8; see `_links`."""
    count = np.zeros(np.add(skeleton.shape, 2), np.uint8)
    height, width = skeleton.shape
    for (row, column), (_, linked) in zip(STEPS, _links(skeleton), strict=True):
        count[1:-1, 1:-1] += linked
        count[1 + row : 1 + row + height, 1 + column : 1 + column + width] += linked
    return count[1:-1, 1:-1]


def _end_distances(ends: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """Return the distance of the two ends (N, 2) of each label, (count,); 0 for labels without two ends."""
    distance = np.zeros(count)
    order = np.argsort(labels, kind="stable")
    ends, labels = ends[order], labels[order]
    first = np.flatnonzero(labels[:-1] == labels[1:])
    distance[labels[first]] = np.hypot(*(ends[first + 1] - ends[first]).T)
    return distance
