"""Vessel trees drawn on a large canvas: optical density, and what an observer would label.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.vessels import Vessel

DENSITY = (0.105, 0.029, 0.38)  # in green: at no width, per pixel of width, at most; fits DRIVE
VEIN_DENSITY, ARTERY_DENSITY = 1.10, 0.88  # veins are darker (less oxygen)
PROFILE = ((1.0, 0.60), (0.78, 0.87), (0.48, 1.0))  # (share of width, share of density): chord of a cylinder
REFLEX_WIDTH, REFLEX_LEAST = 0.30, 3.4  # stripe of light / vessel width; least vessel width that shows it
REFLEX_DEPTH = (0.85, 0.55)  # density left in the stripe of a vein and of an artery
SUPERSAMPLING = 4
FULL_DENSITY = 0.5  # stored as 255
LABEL_MARGIN = 0.35  # reference pixels that a label is wider than its vessel; fits DRIVE's widths
LABELLED = 0.4  # share of its darkness at which a fading end is no longer labelled
SHIFT = 3  # binary places of sub-pixel coordinates in OpenCV


class Layers(NamedTuple):
    """Optical density (H, W) float32 in green light; labelled vessels (H, W) uint8, 0 or 255."""

    density: np.ndarray
    cover: np.ndarray


def layers(vessels: list[Vessel], size: tuple[float, float]) -> Layers:
    """Draw vessels around the centre of a canvas `SUPERSAMPLING` times `size`.

    `size` is height and width in reference pixels. Densities of arteries and veins add where they cross.
    """
    height, width = (round(SUPERSAMPLING * side) for side in size)
    canvases = np.zeros((3, height, width), np.uint8)
    for artery in (False, True):
        strokes = _strokes([vessel for vessel in vessels if vessel.artery == artery], (height, width))
        _draw(canvases[int(artery)], strokes, artery)
        _draw_cover(canvases[2], strokes)
    scale = FULL_DENSITY / 255
    return Layers(cv2.add(canvases[0], canvases[1]).astype(np.float32) * scale, canvases[2])


class Strokes(NamedTuple):
    """Segments, thinnest first: start, end (N, 2) int sub-pixels; width (N,) canvas pixels; darkness (N,)."""

    start: np.ndarray
    end: np.ndarray
    width: np.ndarray
    darkness: np.ndarray


def _strokes(vessels: list[Vessel], size: tuple[int, int]) -> Strokes:
    """Cut vessels into segments and order them by width, so that the wide lie over the thin."""
    start = np.concatenate([vessel.points[:-1] for vessel in vessels])
    end = np.concatenate([vessel.points[1:] for vessel in vessels])
    width = np.concatenate([2 * vessel.radius[1:] for vessel in vessels]) * SUPERSAMPLING
    darkness = np.concatenate([vessel.darkness[1:] for vessel in vessels])
    order = np.argsort(width, kind="stable")
    start, end = _subpixels(start, size), _subpixels(end, size)
    return Strokes(start[order], end[order], width[order], darkness[order])


def _subpixels(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    xy = np.stack([points.real, points.imag], axis=1) * SUPERSAMPLING + np.array([size[1], size[0]]) / 2 - 0.5
    return np.rint(xy * 2**SHIFT).astype(int)


def _line(canvas: np.ndarray, strokes: Strokes, index: int, value: float, width: float) -> None:
    cv2.line(
        canvas,
        strokes.start[index].tolist(),
        strokes.end[index].tolist(),
        round(value),
        max(round(width), 1),
        cv2.LINE_8,
        SHIFT,
    )


def _draw(canvas: np.ndarray, strokes: Strokes, artery: bool) -> None:
    """Draw optical density: nested strokes, then the light reflex of arteries and, weaker, of wide veins."""
    width = strokes.width / SUPERSAMPLING
    density = np.minimum(DENSITY[0] + DENSITY[1] * width, DENSITY[2]) * strokes.darkness
    value = 255 / FULL_DENSITY * density * (ARTERY_DENSITY if artery else VEIN_DENSITY)
    for share, depth in PROFILE:
        for index in range(len(width)):
            _line(canvas, strokes, index, depth * value[index], share * strokes.width[index])
    depth = REFLEX_DEPTH[artery]
    for index in np.flatnonzero(width > REFLEX_LEAST):
        _line(canvas, strokes, index, depth * value[index], REFLEX_WIDTH * strokes.width[index])


def _draw_cover(canvas: np.ndarray, strokes: Strokes) -> None:
    """Draw what an observer would label: 255 on every vessel but its faded end."""
    for index in np.flatnonzero(strokes.darkness > LABELLED):
        _line(canvas, strokes, index, 255, strokes.width[index] + SUPERSAMPLING * LABEL_MARGIN)
