"""Geometry of binary vessel maps: skeleton, vessel width, boundary, distances, connected components and loops.

Everything is measured inside the field of view (FOV); what lies outside is background.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.common.image_geometry import fov_diameter
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.metrics.skeletonization import skeletonize

WIDTH_CLASSES = ("thin", "medium", "thick")


class VesselGeometry(NamedTuple):
    """A vessel map with what structural scores need of it, computed once for all maps it is compared with.

    All arrays are (H, W) bool, but for two. `width_class` is int8: the index in WIDTH_CLASSES, -1 outside vessels.
    `distance` is float32: pixels of the reference FOV to the nearest boundary pixel, inf without vessels.
    """

    vessels: np.ndarray
    skeleton: np.ndarray
    width_class: np.ndarray
    boundary: np.ndarray
    distance: np.ndarray
    components: int
    loops: int


def measure_geometry(vessels: np.ndarray, fov: np.ndarray, width_limits: tuple[float, float]) -> VesselGeometry:
    """Measure the geometry of a vessel map, ground truth or prediction.

    Args:
        vessels: (H, W) bool; vessels outside the FOV are left out.
        fov: field of view, (H, W) bool; the larger side of its bounding box is its diameter.
        width_limits: pixels of the reference FOV from which a vessel is medium, and from which it is thick. Vessel
            widths are whole pixels and FOV diameters vary by some pixels within a data set: 2.5 gives the same classes
            in all images of a set, 3 does not.

    Raises:
        ValueError: another type or shape, or limits that are not positive and increasing.
    """
    for name, array in (("vessels", vessels), ("fov", fov)):
        if array.dtype != bool or array.ndim != 2 or array.shape != fov.shape:
            raise ValueError(f"{name}: expected bool of shape {fov.shape}, got {array.dtype} {array.shape}")
    if not 0 < width_limits[0] < width_limits[1]:
        raise ValueError(f"width_limits: expected two positive, increasing widths, got {width_limits}")
    scale = fov_diameter(fov) / REFERENCE_FOV_DIAMETER
    inside = vessels & fov
    skeleton = skeletonize(inside)
    boundary = vessel_boundary(inside)
    distance = _distance_to(boundary) / np.float32(scale or 1)
    width_class = _width_class(inside, skeleton, np.multiply(width_limits, scale))
    return VesselGeometry(
        inside, skeleton, width_class, boundary, distance, count_components(inside), count_loops(inside)
    )


def vessel_widths(vessels: np.ndarray, skeleton: np.ndarray) -> np.ndarray:
    """Measure the vessel width in pixels at each pixel of the skeleton, (N,) float32; both maps (H, W) bool.

    The width is the largest distance to background within the skeleton pixel, in the map enlarged twofold. At the
    original size a distance d stands for widths 2d - 1 and 2d alike: the centre of an even width lies between pixels.

    >>> bar = np.ones((2, 5), bool)
    >>> vessel_widths(bar, skeletonize(bar)).max()
    np.float32(2.0)
    """
    twice = np.pad(vessels.repeat(2, axis=0).repeat(2, axis=1), 1)
    depth = cv2.distanceTransform(twice.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    row, column = np.nonzero(skeleton)
    return np.max([depth[2 * row + i, 2 * column + j] for i in (1, 2) for j in (1, 2)], axis=0)


def vessel_boundary(vessels: np.ndarray) -> np.ndarray:
    """Return vessel pixels with background above, below, left or right, (H, W) bool, as MONAI and MedPy define them.

    Beyond the border of the image is background.
    """
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    core = cv2.erode(vessels.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    return vessels & (core == 0)


def count_components(vessels: np.ndarray) -> int:
    """Count the 8-connected components of an (H, W) bool map, its 0th Betti number."""
    return cv2.connectedComponents(vessels.astype(np.uint8), connectivity=8)[0] - 1


def count_loops(vessels: np.ndarray) -> int:
    """Count the holes of an (H, W) bool map, its 1st Betti number: 4-connected background enclosed by vessels.

    Background that reaches the border of the image or of the FOV is connected to the outside, and is no hole.
    """
    background = np.pad(~vessels, 1, constant_values=True)
    return cv2.connectedComponents(background.astype(np.uint8), connectivity=4)[0] - 2


def _width_class(vessels: np.ndarray, skeleton: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Assign each vessel pixel the width class of the nearest skeleton pixel, the thinner one at equal distance.

    Returns (H, W) int8. Every component of a map keeps a skeleton pixel, so each vessel pixel has a class.
    """
    on_skeleton = np.full(vessels.shape, -1, np.int8)
    on_skeleton[skeleton] = np.digitize(vessel_widths(vessels, skeleton), limits)
    squared = [np.square(_distance_to(on_skeleton == index)[vessels]) for index in range(len(WIDTH_CLASSES))]
    result = np.full(vessels.shape, -1, np.int8)
    result[vessels] = np.argmin(np.rint(squared), axis=0)  # squared distances are integers: ties stay ties
    return result


def _distance_to(pixels: np.ndarray) -> np.ndarray:
    """Compute the distance to the nearest of `pixels` (H, W) bool, (H, W) float32; inf when there is none."""
    if not pixels.any():
        return np.full(pixels.shape, np.inf, np.float32)
    return cv2.distanceTransform((~pixels).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
