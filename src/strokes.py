"""Vessel trees drawn on a large canvas: optical density, and what an observer would label.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.vessels import Vessel

DENSITY = (0.03, 0.052, 0.42)  # in green: at no width, per pixel of width, at most; fits DRIVE
VEIN_DENSITY, ARTERY_DENSITY = 1.10, 0.88  # veins are darker (less oxygen)
PROFILE = ((1.0, 0.60), (0.78, 0.87), (0.48, 1.0))  # (share of width, share of density): chord of a cylinder
REFLEX_WIDTH, REFLEX_LEAST = 0.30, 3.4  # stripe of light / vessel width; least vessel width that shows it
REFLEX_DEPTH = (0.85, 0.55)  # density left in the stripe of a vein and of an artery
SUPERSAMPLING = 3
FULL_DENSITY = 0.5  # stored as 255
LABEL_MARGIN = 0.6  # reference pixels that a label is wider than its vessel; fits DRIVE's widths
PENCIL = 1.6  # reference pixels of a vessel's width up to which observers draw a line of one pixel; fits the same
LABELLED = 0.4  # share of its darkness at which a fading end is no longer labelled
LEVELS = 4  # grey levels of a canvas that are drawn as one
SHIFT = 3  # binary places of sub-pixel coordinates in OpenCV


class Layers(NamedTuple):
    """Optical density in green light, 255 is `FULL_DENSITY`, and labelled vessels, 0 or 255; both (H, W) uint8."""

    density: np.ndarray
    cover: np.ndarray


class Look(NamedTuple):
    """What differs between eyes and observers: strength of the light reflex; least labelled width, reference pixels."""

    reflex: float = 1.0
    least_labelled: float = 0.0


def layers(vessels: list[Vessel], size: tuple[float, float], look: Look) -> Layers:
    """Draw vessels around the centre of a canvas `SUPERSAMPLING` times `size`.

    `size` is height and width in reference pixels. Densities of arteries and veins add where they cross.
    """
    height, width = (round(SUPERSAMPLING * side) for side in size)
    canvases = np.zeros((3, height, width), np.uint8)
    for artery in (False, True):
        strokes = _strokes([vessel for vessel in vessels if vessel.artery == artery], (height, width), SUPERSAMPLING)
        _draw(canvases[int(artery)], strokes, artery, look.reflex)
        wide = (strokes.darkness > LABELLED) & (strokes.width > PENCIL * SUPERSAMPLING)
        _lines(canvases[2], strokes.segments[wide], 255, strokes.width[wide] + SUPERSAMPLING * LABEL_MARGIN)
    return Layers(cv2.add(canvases[0], canvases[1]), canvases[2])


def pencil(vessels: list[Vessel], shape: tuple[int, int], scale: float, look: Look) -> np.ndarray:
    """The middles (H, W) bool of all labelled vessels, about a reference pixel wide, an odd number of pixels.

    So observers draw what is hardly wider than a pixel, down to a width of `look.least_labelled`.
    """
    canvas = np.zeros(shape, np.uint8)
    strokes = _strokes(vessels, shape, scale)
    labelled = (strokes.darkness > LABELLED) & (strokes.width > scale * look.least_labelled)
    thickness = max(2 * int(scale / 2), 1)  # OpenCV draws an even one a pixel wider
    cv2.polylines(canvas, list(strokes.segments[labelled]), False, 255, thickness, cv2.LINE_8, SHIFT)
    return canvas > 0


class Strokes(NamedTuple):
    """Segments (N, 2, 2) int32, start and end in sub-pixels; width (N,) canvas pixels; darkness (N,)."""

    segments: np.ndarray
    width: np.ndarray
    darkness: np.ndarray


def _strokes(vessels: list[Vessel], shape: tuple[int, int], scale: float) -> Strokes:
    """Cut vessels into segments on a canvas with `scale` pixels a reference pixel."""
    ends = [np.concatenate([vessel.points[part] for vessel in vessels]) for part in (np.s_[:-1], np.s_[1:])]
    points = np.stack(ends, axis=1) * scale
    xy = np.stack([points.real, points.imag], axis=-1) + np.array([shape[1], shape[0]]) / 2 - 0.5
    width = np.concatenate([2 * vessel.radius[1:] for vessel in vessels]) * scale
    darkness = np.concatenate([vessel.darkness[1:] for vessel in vessels])
    return Strokes(np.rint(xy * 2**SHIFT).astype(np.int32), width, darkness)


def _lines(canvas: np.ndarray, segments: np.ndarray, value: np.ndarray, width: np.ndarray) -> None:
    """Draw segments, the wide over the thin; those of one width and about one value in one call."""
    look = np.stack(np.broadcast_arrays(np.maximum(np.rint(width), 1), LEVELS * np.rint(value / LEVELS)), axis=1)
    kinds, kind = np.unique(look.astype(int), axis=0, return_inverse=True)
    order = np.argsort(kind, kind="stable")
    ends = np.cumsum(np.bincount(kind, minlength=len(kinds)))
    for (thickness, grey), part in zip(kinds.tolist(), np.split(segments[order], ends[:-1]), strict=True):
        cv2.polylines(canvas, list(part), False, min(grey, 255), thickness, cv2.LINE_8, SHIFT)


def _draw(canvas: np.ndarray, strokes: Strokes, artery: bool, reflex: float) -> None:
    """Draw optical density: nested strokes, then the light reflex of arteries and, weaker, of wide veins."""
    width = strokes.width / SUPERSAMPLING
    density = np.minimum(DENSITY[0] + DENSITY[1] * width, DENSITY[2]) * strokes.darkness
    value = 255 / FULL_DENSITY * density * (ARTERY_DENSITY if artery else VEIN_DENSITY)
    for share, depth in PROFILE:
        _lines(canvas, strokes.segments, depth * value, share * strokes.width)
    shows = width > REFLEX_LEAST
    depth = 1 - reflex * (1 - REFLEX_DEPTH[artery])
    _lines(canvas, strokes.segments[shows], depth * value[shows], REFLEX_WIDTH * strokes.width[shows])
