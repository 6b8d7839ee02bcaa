"""Find the field of view of a fundus photograph that comes without one."""

import cv2
import numpy as np

LARGE = 1200  # pixels of the shorter side: larger photographs are looked at in this size, 25 times faster
LEAST_LEVEL = 16  # grey levels: a photograph whose bright part is below it is black
BORDER = 0.35  # of the photograph's level: a picture without darker parts has no border
ROUGH_EDGE = 0.13  # of the step from the border's grey level to the photograph's
EDGE = 0.4  # of the step from the border's grey level to that nearby inside; .4 meets DRIVE's own fields best
LEAST_SHARE = 0.1  # of the picture: smaller bright parts are not a field of view
ROUND = 0.95  # overlap with a disc (cut straight or not) above which a field of view is taken to be one
LEAST_POINTS = 20  # of the outline, to fit a circle to


def find(image: np.ndarray) -> np.ndarray:
    """The field of view of an (H, W, 3) uint8 RGB photograph, (H, W) bool, in one piece.

    Text marks and noise outside are left out, dark parts inside are taken in, a tab at the edge is kept. The field
    of view of a photograph that fills the picture is the whole picture.

    Raises:
        ValueError: there is none (a black picture, or one with nothing but small marks).
    """
    height, width = image.shape[:2]
    scale = LARGE / min(height, width)
    if scale >= 1:
        return _found(image)
    small = _found(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return cv2.resize(small.astype(np.uint8) * 255, (width, height), interpolation=cv2.INTER_LINEAR) > 127


def _found(image: np.ndarray) -> np.ndarray:
    grey = cv2.medianBlur(np.maximum.reduce(cv2.split(image)), 5)
    border, level = (float(v) for v in np.percentile(grey, (1, 90)))
    if level >= LEAST_LEVEL and border > BORDER * level:
        return np.ones(grey.shape, bool)
    rough = _large(grey > max(border + ROUGH_EDGE * (level - border), LEAST_LEVEL / 2))
    return _rounded(_large(_inside(grey, _hull(rough), border)))


def _large(picture: np.ndarray) -> np.ndarray:
    """The largest compact part of `picture` (H, W) bool; ValueError where that is small."""
    part = _largest(_opened(picture))
    if part.mean() < LEAST_SHARE:
        raise ValueError(
            f"expected a field of view, bright on dark, of at least {LEAST_SHARE:.0%} of the picture, "
            f"found one of {part.mean():.1%}"
        )
    return part


def _inside(grey: np.ndarray, rough: np.ndarray, border: float) -> np.ndarray:
    """The part of a rough field of view that is bright measured by its neighbourhood, (H, W) bool."""
    short = min(grey.shape)
    core = cv2.erode(rough.astype(np.uint8), np.ones((max(short // 40, 1) | 1,) * 2, np.uint8), borderValue=1)
    side = (max(short // 12, 3) | 1,) * 2
    total = cv2.boxFilter(grey * core.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    count = cv2.boxFilter(core.astype(np.float32), -1, side, normalize=False, borderType=cv2.BORDER_CONSTANT)
    nearby = total / np.maximum(count, 1)
    return rough & (count > 0) & (grey > border + EDGE * (nearby - border))


def _rounded(part: np.ndarray) -> np.ndarray:
    """`part` (H, W) bool completed to a disc within its bounding box; to its convex hull where it is no disc."""
    hull = _hull(part)
    outline = cv2.findContours(hull.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)[0][0][:, 0]
    (left, top), (right, bottom) = outline.min(axis=0), outline.max(axis=0)
    margin = 0.01 * max(right - left, bottom - top)
    straight = (outline - (left, top) <= margin) | ((right, bottom) - outline <= margin)
    circle = _circle(outline[~straight.any(axis=1)].astype(float))
    if circle is None:
        return hull
    y, x = np.ogrid[: part.shape[0], : part.shape[1]]
    disc = np.hypot(x - circle[0], y - circle[1]) <= circle[2]
    disc &= (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return part | disc if (disc & hull).sum() > ROUND * (disc | hull).sum() else hull


def _circle(points: np.ndarray) -> tuple[float, float, float] | None:
    """Centre x, y and radius of the circle through most of the `points` (N, 2); None where they are too few."""
    for _ in range(5):
        if len(points) < LEAST_POINTS:
            return None
        system = np.column_stack([2 * points, np.ones(len(points))])
        x, y, rest = np.linalg.lstsq(system, (points**2).sum(axis=1), rcond=None)[0]
        radius = float(np.sqrt(rest + x * x + y * y))
        off = np.abs(np.hypot(points[:, 0] - x, points[:, 1] - y) - radius)
        points = points[off <= max(2 * np.median(off), 1)]
    return float(x), float(y), radius


def _opened(picture: np.ndarray) -> np.ndarray:
    """`picture` (H, W) bool without parts thinner than a twentieth of it."""
    side = max(min(picture.shape) // 40, 1) * 2 + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return cv2.morphologyEx(picture.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0


def _largest(picture: np.ndarray) -> np.ndarray:
    """The largest connected part of `picture` (H, W) bool; empty where there is none."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(picture.astype(np.uint8))
    if len(stats) == 1:
        return np.zeros(picture.shape, bool)
    return labels == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())


def _hull(picture: np.ndarray) -> np.ndarray:
    """The convex hull of `picture` (H, W) bool, which is not empty."""
    outlines = cv2.findContours(picture.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]
    points = np.concatenate(outlines)
    return cv2.fillConvexPoly(np.zeros(picture.shape, np.uint8), cv2.convexHull(points), 1) > 0
