"""Detect the field of view of a fundus image that comes without one."""

from typing import NamedTuple

import cv2
import numpy as np

MAX_SIDE = 1200  # pixels of the shorter side: larger images are scaled down to it, 25 times faster
MIN_LEVEL = 16  # intensity: an image whose bright part is below it is black
MAX_BORDER_LEVEL = 0.35  # of the image's level: an image without darker parts has no border
ROUGH_EDGE = 0.13  # of the step from the border's intensity to the image's
EDGE = 0.4  # of the step from the border's intensity to that nearby inside; .4 matches DRIVE's own fields best
MIN_FRACTION = 0.1  # of the image: smaller bright parts are no field of view
MIN_DISC_OVERLAP = 0.95  # intersection over union with a disc (cut straight or not) that completes the field to it
MIN_OUTLINE_POINTS = 20  # to fit a circle
CORNER_FRACTION = 0.025  # of the shorter side: the corners in which the colour of the surround is measured
MIN_CORNERS = 3  # of one colour; a label may be in the fourth
MAX_CORNER_DIFFERENCE = 12  # levels between the corners of a uniform surround
MAX_SURROUND_DIFFERENCE = 24  # levels between a pixel and the surround's colour; JPEG changes some pixels that much
MAX_SURROUND_DEVIATION = 3.0  # levels, of three quarters of it; the edge of a fundus that fills the image varies more
MIN_SECOND_FIELD = 0.3  # of the area of the largest field of view
MIN_BOX_FRACTION = 0.5  # of its bounding box: a disc has .785
MAX_ASPECT = 2.0  # of the sides of a field of view


def detect(image: np.ndarray) -> np.ndarray:
    """Detect the field of view of an (H, W, 3) uint8 RGB image: (H, W) bool, in one piece.

    Text and noise outside are excluded, dark parts inside are included, a notch mark at the edge is kept. The surround
    is black, or bright and uniform. Where the fundus fills the image, the field of view is the whole image.

    Raises:
        ValueError: there is none (a black image, or one with nothing but small marks).
    """
    height, width = image.shape[:2]
    small = _scaled_down(image)
    found = _detect(_darken_surround(small))
    if small is image:
        return found
    return cv2.resize(found.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR) > 127


def count_fields(image: np.ndarray) -> int:
    """Count the fields of view of an (H, W, 3) uint8 RGB image: 2 where both eyes are side by side."""
    brightness = _brightness(_darken_surround(_scaled_down(image)))
    border, level = _levels(brightness)
    if _fills_image(border, level):
        return 1
    return len(separate_fields(_opened(brightness > _rough_threshold(border, level))))


def opaque_field(image: np.ndarray, opaque: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Return an image that is black where it is not opaque, its field of view, and how many fields of view there are.

    The field of view is the largest opaque piece: text or specks beside it are none.

    Args:
        image: (H, W, 3) uint8 RGB.
        opaque: (H, W) bool with at least one pixel.
    """
    fields = separate_fields(opaque)
    return np.where(opaque[..., None], image, np.uint8(0)), fields[0], len(fields)


def separate_fields(binary: np.ndarray) -> list[np.ndarray]:
    """Return the parts of an (H, W) bool image that may each be a field of view, the largest first; at least one."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(binary.astype(np.uint8))
    order = sorted(range(1, count), key=lambda label: -int(stats[label, cv2.CC_STAT_AREA]))
    fields = [label for number, label in enumerate(order) if number == 0 or _is_second(stats[label], stats[order[0]])]
    return [labels == label for label in fields] or [binary]


def _is_second(stats: np.ndarray, largest: np.ndarray) -> bool:
    """Return whether a component is compact, and not much smaller than the largest one."""
    width, height, area = (int(stats[column]) for column in (cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT, cv2.CC_STAT_AREA))
    compact = area > MIN_BOX_FRACTION * width * height and max(width, height) < MAX_ASPECT * min(width, height)
    return compact and area > MIN_SECOND_FIELD * largest[cv2.CC_STAT_AREA]


def _scaled_down(image: np.ndarray) -> np.ndarray:
    """Scale a large image down to a shorter side of `MAX_SIDE`; others are returned as they are."""
    scale = MAX_SIDE / min(image.shape[:2])
    return image if scale >= 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _darken_surround(image: np.ndarray) -> np.ndarray:
    """Make a bright uniform surround black: what has the colour of the corners, and is joined to one of them."""
    height, width = image.shape[:2]
    side = max(round(CORNER_FRACTION * min(height, width)), 1)
    corners = [
        image[rows, columns]
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    ]
    colours = np.array([np.median(corner.reshape(-1, 3), axis=0) for corner in corners])
    colour = np.median(colours, axis=0)
    bright = colour.max() > MAX_BORDER_LEVEL * _levels(_brightness(image)).bright
    alike = np.abs(colours - colour).max(axis=1) <= MAX_CORNER_DIFFERENCE
    if not bright or alike.sum() < MIN_CORNERS:
        return image
    difference = np.abs(image - colour.astype(np.float32)).max(axis=2)
    _, labels = cv2.connectedComponents((difference <= MAX_SURROUND_DIFFERENCE).astype(np.uint8))
    at_corners = {int(labels[row, column]) for row in (0, -1) for column in (0, -1)} - {0}
    surround = np.isin(labels, sorted(at_corners))
    if not surround.any() or (~surround).mean() < MIN_FRACTION:  # the latter is an image of one colour
        return image
    if np.percentile(difference[surround], 75) > MAX_SURROUND_DEVIATION:
        return image
    edge = cv2.dilate(surround.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0  # blended with the surround's colour
    return np.where(edge[..., None], np.uint8(0), image)


class _Levels(NamedTuple):
    border: float
    bright: float


def _brightness(image: np.ndarray) -> np.ndarray:
    return cv2.medianBlur(np.maximum.reduce(cv2.split(image)), 5)


def _levels(brightness: np.ndarray) -> _Levels:
    """Return the intensity of the border of an image and of its bright part."""
    return _Levels(*(float(value) for value in np.percentile(brightness, (1, 90))))


def _fills_image(border: float, level: float) -> bool:
    return level >= MIN_LEVEL and border > MAX_BORDER_LEVEL * level


def _rough_threshold(border: float, level: float) -> float:
    return max(border + ROUGH_EDGE * (level - border), MIN_LEVEL / 2)


def _detect(image: np.ndarray) -> np.ndarray:
    """Detect the field of view at the given size."""
    brightness = _brightness(image)
    border, level = _levels(brightness)
    if _fills_image(border, level):
        return np.ones(brightness.shape, bool)
    rough = _large_part(brightness > _rough_threshold(border, level))
    return _completed(_large_part(_inside(brightness, _hull(rough), border)))


def _large_part(binary: np.ndarray) -> np.ndarray:
    """Return the largest compact part of an (H, W) bool image; ValueError where that is small."""
    part = _largest_component(_opened(binary))
    if part.mean() < MIN_FRACTION:
        raise ValueError(
            f"expected a field of view, bright on dark, of at least {MIN_FRACTION:.0%} of the image, "
            f"found one of {part.mean():.1%}"
        )
    return part


def _inside(brightness: np.ndarray, rough: np.ndarray, border: float) -> np.ndarray:
    """Return the part of a rough field of view that is bright compared with its neighbourhood, (H, W) bool."""
    short = min(brightness.shape)
    core = cv2.erode(rough.astype(np.uint8), np.ones((max(short // 40, 1) | 1,) * 2, np.uint8), borderValue=1)
    side = (max(short // 12, 3) | 1,) * 2
    total = cv2.boxFilter(
        brightness * core.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT
    )
    count = cv2.boxFilter(core.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    nearby = total / np.maximum(count, 1)
    return rough & (count > 0) & (brightness > border + EDGE * (nearby - border))


def _completed(part: np.ndarray) -> np.ndarray:
    """Complete `part` (H, W) bool to a disc within its bounding box; to its convex hull where it is no disc."""
    hull = _hull(part)
    outline = cv2.findContours(hull.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0][:, 0]
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    margin = 0.01 * max(right - left, bottom - top)
    straight = (outline - (left, top) <= margin) | ((right, bottom) - outline <= margin)
    circle = _fit_circle(outline[~straight.any(axis=1)].astype(float))
    if circle is None:
        return hull
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    disc = np.hypot(x - circle[0], y - circle[1]) <= circle[2]
    disc &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return part | disc if (disc & hull).sum() > MIN_DISC_OVERLAP * (disc | hull).sum() else hull


def _fit_circle(points: np.ndarray) -> tuple[float, float, float] | None:
    """Fit a circle (x, y, radius) to `points` (N, 2), without outliers; None where they are too few."""
    for _ in range(5):
        if len(points) < MIN_OUTLINE_POINTS:
            return None
        system = np.column_stack([2 * points, np.ones(len(points))])
        x, y, rest = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
        radius = float(np.sqrt(rest + x * x + y * y))
        off = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        points = points[off <= max(2 * np.median(off), 1)]
    return float(x), float(y), radius


def _opened(binary: np.ndarray) -> np.ndarray:
    """Remove the parts of an (H, W) bool image that are thinner than a twentieth of it (morphological opening)."""
    side = max(min(binary.shape) // 40, 1) * 2 + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(binary.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0


def _largest_component(binary: np.ndarray) -> np.ndarray:
    """Return the largest connected component of an (H, W) bool image; empty where there is none."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary.astype(np.uint8))
    if len(stats) == 1:
        return np.zeros(binary.shape, bool)
    return labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _hull(binary: np.ndarray) -> np.ndarray:
    """Return the convex hull of an (H, W) bool image, which is not empty."""
    outlines = cv2.findContours(binary.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    points = np.concatenate(outlines)
    return cv2.fillConvexPoly(np.zeros(binary.shape, np.uint8), cv2.convexHull(points), 1) > 0
