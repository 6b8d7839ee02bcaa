"""What a vessel map says of an eye: density, length, width, branching and winding of its vessels.

All is taken inside the field of view. Lengths are in pixels of a FOV 540 pixels wide, whatever the size of the
photograph, so that photographs can be compared. NaN where a number is undefined: no vessels, nothing to fit.
"""

import math

import cv2
import numpy as np
from skimage.morphology import skeletonize

from src import structure

BOXES = (4, 8, 16, 32, 64)  # to a FOV's diameter: the sides of the boxes that are counted
LEAST_CHORD = 10.0  # pixels of a 540-pixel FOV: shorter segments have no course to speak of
STEPS = {(0, 1): 1.0, (1, 0): 1.0, (1, 1): math.sqrt(2), (1, -1): math.sqrt(2)}  # to half of the eight neighbours
NAMES = (
    *("vessel_density", "fov_share", "centreline_length", "mean_width", "fractal_dimension", "tortuosity"),
    "mean_doubt",
)


def measure(vessels: np.ndarray, fov: np.ndarray, doubt: np.ndarray | None) -> dict[str, float]:
    """The numbers in NAMES of a map `vessels` (H, W) bool in its FOV (H, W) bool, which has a pixel.

    `vessel_density` is the share of vessel pixels in the FOV, `fov_share` that of the FOV in the picture, `mean_width`
    is over the centreline, `mean_doubt` over the FOV of `doubt` (H, W), NaN where that is None. For the others see
    the functions of their names.
    """
    vessels = vessels & fov
    centreline = skeletonize(vessels)
    scale = structure.REFERENCE_DIAMETER / structure.diameter(fov)
    widths = structure.widths(vessels, centreline)
    values = (
        vessels.sum() / fov.sum(),
        fov.mean(),
        centreline_length(centreline) * scale,
        widths.mean() * scale if widths.size else math.nan,
        fractal_dimension(centreline, structure.diameter(fov)),
        tortuosity(centreline, LEAST_CHORD / scale),
        math.nan if doubt is None else doubt[fov].mean(),
    )
    return dict(zip(NAMES, map(float, values), strict=True))


def centreline_length(centreline: np.ndarray) -> float:
    """Pixels along a centreline (H, W) bool: 1 for a step to the side, the root of 2 for a diagonal one.

    It is that of Freeman's chain code (1970). A straight line at 22.5 degrees measures 8 % too long, the worst case. A
    single pixel has no length.
    """
    return float(sum(length * joined.sum() for length, joined in _joined(centreline)))


def fractal_dimension(lines: np.ndarray, diameter: float) -> float:
    """Box-counting dimension of `lines` (H, W) bool: 1 for a straight line, 2 for a filled plane.

    The slope of log N over log k by least squares, N boxes that hold a pixel at a side of diameter / k, k in BOXES. The
    centreline is counted, as in Liew et al. (Ophthalmology 115, 2008), so that it tells of branching, not of width.
    """
    places = np.argwhere(lines)
    if not len(places):
        return math.nan
    places = places - places.min(axis=0)
    counts = [len({*zip(*(places * boxes // diameter).T.tolist(), strict=True)}) for boxes in BOXES]
    return float(np.polyfit(np.log(BOXES), np.log(counts), 1)[0])


def tortuosity(centreline: np.ndarray, least_chord: float) -> float:
    """Length of the centreline's segments over the distance of their ends, all segments together; 1 is straight.

    The ratio of arc to chord (Lotmar et al., 1979; Hart et al., Int. J. Med. Inform. 53, 1999), of the sums, so that
    long segments weigh more. Segments are what is left of the centreline (H, W) bool without its branching points
    and the pixels around them; those whose ends are less than `least_chord` pixels apart do not count. As arcs are
    measured in steps, a straight line at 22.5 degrees has 1.08.
    """
    branching = centreline & (_neighbours(centreline) > 2)
    segments = centreline & (cv2.dilate(branching.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
    count, labels = cv2.connectedComponents(segments.astype(np.uint8), connectivity=8)
    arcs = np.zeros(count)
    for length, joined in _joined(segments):
        arcs += length * np.bincount(labels[joined], minlength=count)
    ends = segments & (_neighbours(segments) == 1)
    chords = _distance_of_pairs(np.argwhere(ends), labels[ends], count)
    counted = chords >= least_chord
    return float(arcs[counted].sum() / chords[counted].sum()) if counted.any() else math.nan


def _joined(lines: np.ndarray) -> list[tuple[float, np.ndarray]]:
    """For each of STEPS its length and the pixels (H, W) bool from which it leads to another pixel of the lines.

    A diagonal step that can also be gone in two is none.
    """
    padded = np.pad(lines, 1)
    height, width = lines.shape

    def shifted(row: int, column: int) -> np.ndarray:
        return padded[1 + row : 1 + row + height, 1 + column : 1 + column + width]

    found = []
    for (row, column), length in STEPS.items():
        joined = lines & shifted(row, column)
        if row and column:
            joined &= ~(shifted(row, 0) | shifted(0, column))
        found.append((length, joined))
    return found


def _neighbours(lines: np.ndarray) -> np.ndarray:
    """To how many of its eight neighbours each pixel of the lines is joined, (H, W) uint8; see `_joined`."""
    count = np.zeros(np.add(lines.shape, 2), np.uint8)
    height, width = lines.shape
    for (row, column), (_, joined) in zip(STEPS, _joined(lines), strict=True):
        count[1:-1, 1:-1] += joined
        count[1 + row : 1 + row + height, 1 + column : 1 + column + width] += joined
    return count[1:-1, 1:-1]


def _distance_of_pairs(places: np.ndarray, labels: np.ndarray, count: int) -> np.ndarray:
    """The distance of the two of `places` (N, 2) that have a label, (count,); 0 for labels that are not there twice."""
    distance = np.zeros(count)
    order = np.argsort(labels, kind="stable")
    places, labels = places[order], labels[order]
    first = np.flatnonzero(labels[:-1] == labels[1:])
    distance[labels[first]] = np.hypot(*(places[first + 1] - places[first]).T)
    return distance
