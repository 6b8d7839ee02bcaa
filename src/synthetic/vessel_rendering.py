"""Render vessels on a supersampled canvas: their optical density, and the label of an annotator.

Ranges without a named source were chosen by visual comparison with training images of DRIVE and CHASE_DB1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.anatomy import Vessel

OPTICAL_DENSITY = (0.105, 0.029, 0.38)  # in green: at width 0, per pixel of width, maximum; fits DRIVE
VEIN_DENSITY, ARTERY_DENSITY = 1.10, 0.88  # veins are darker (less oxygen)
PROFILE = ((1.0, 0.60), (0.78, 0.87), (0.48, 1.0))  # (fraction of width, fraction of density): chord of a cylinder
REFLEX_WIDTH = 0.30  # of the central light reflex / vessel width
MIN_REFLEX_VESSEL_WIDTH = 3.4  # reference pixels; thinner vessels show no reflex
REFLEX_DEPTH = (0.85, 0.55)  # fraction of the density left in the reflex of a vein and of an artery
SUPERSAMPLING = 4
MAX_DENSITY = 0.5  # stored as 255
LABEL_MARGIN = 0.35  # reference pixels by which a label is wider than its vessel; fits the vessel widths of DRIVE
MIN_LABELLED_DARKNESS = 0.4  # a fading end below it is not labelled
SHIFT = 3  # fractional bits of OpenCV's sub-pixel coordinates


class RenderedVessels(NamedTuple):
    """Optical density (H, W) float32 in green light; labelled vessels (H, W) uint8, 0 or 255."""

    density: np.ndarray
    label: np.ndarray


def render_vessels(vessels: list[Vessel], size: tuple[float, float]) -> RenderedVessels:
    """Render vessels around the centre of a canvas `SUPERSAMPLING` times `size`.

    `size` is height and width in reference pixels. Densities of arteries and veins add where they cross.
    """
    height, width = (round(SUPERSAMPLING * side) for side in size)
    canvases = np.zeros((3, height, width), np.uint8)
    for artery in (False, True):
        segments = _segments([vessel for vessel in vessels if vessel.artery == artery], (height, width))
        _draw_density(canvases[int(artery)], segments, artery)
        _draw_label(canvases[2], segments)
    scale = MAX_DENSITY / 255
    return RenderedVessels(cv2.add(canvases[0], canvases[1]).astype(np.float32) * scale, canvases[2])


class VesselSegments(NamedTuple):
    """Straight segments, thinnest first: start, end (N, 2) int sub-pixels; width (N,) canvas pixels; darkness (N,)."""

    start: np.ndarray
    end: np.ndarray
    width: np.ndarray
    darkness: np.ndarray


def _segments(vessels: list[Vessel], size: tuple[int, int]) -> VesselSegments:
    """Cut vessels into segments, ordered by width, so that thick ones are drawn over thin ones."""
    start = np.concatenate([vessel.points[:-1] for vessel in vessels])
    end = np.concatenate([vessel.points[1:] for vessel in vessels])
    width = np.concatenate([2 * vessel.radius[1:] for vessel in vessels]) * SUPERSAMPLING
    darkness = np.concatenate([vessel.darkness[1:] for vessel in vessels])
    order = np.argsort(width, kind="stable")
    start, end = _subpixels(start, size), _subpixels(end, size)
    return VesselSegments(start[order], end[order], width[order], darkness[order])


def _subpixels(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Convert complex points (N,) to sub-pixel coordinates (N, 2) of the canvas."""
    xy = np.stack([points.real, points.imag], axis=1) * SUPERSAMPLING + np.array([size[1], size[0]]) / 2 - 0.5
    return np.rint(xy * 2**SHIFT).astype(int)


def _draw_segment(canvas: np.ndarray, segments: VesselSegments, index: int, value: float, width: float) -> None:
    cv2.line(
        canvas,
        segments.start[index].tolist(),
        segments.end[index].tolist(),
        round(value),
        max(round(width), 1),
        cv2.LINE_8,
        SHIFT,
    )


def _draw_density(canvas: np.ndarray, segments: VesselSegments, artery: bool) -> None:
    """Draw the optical density of all profiles, then the central light reflex, weaker in veins."""
    width = segments.width / SUPERSAMPLING
    density = np.minimum(OPTICAL_DENSITY[0] + OPTICAL_DENSITY[1] * width, OPTICAL_DENSITY[2]) * segments.darkness
    value = 255 / MAX_DENSITY * density * (ARTERY_DENSITY if artery else VEIN_DENSITY)
    for width_fraction, depth in PROFILE:
        for index in range(len(width)):
            _draw_segment(canvas, segments, index, depth * value[index], width_fraction * segments.width[index])
    depth = REFLEX_DEPTH[artery]
    for index in map(int, np.flatnonzero(width > MIN_REFLEX_VESSEL_WIDTH)):
        _draw_segment(canvas, segments, index, depth * value[index], REFLEX_WIDTH * segments.width[index])


def _draw_label(canvas: np.ndarray, segments: VesselSegments) -> None:
    """Draw the label of an annotator: 255 on every vessel except its faded end."""
    for index in map(int, np.flatnonzero(segments.darkness > MIN_LABELLED_DARKNESS)):
        _draw_segment(canvas, segments, index, 255, segments.width[index] + SUPERSAMPLING * LABEL_MARGIN)
