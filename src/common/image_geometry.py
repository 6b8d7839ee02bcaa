"""Sizes of images and of their fields of view."""

from collections.abc import Sequence

import cv2
import numpy as np


def format_size(shape: Sequence[int]) -> str:
    """Format a shape (H, W, ...) as width x height.

    >>> format_size((584, 565))
    '565x584'
    """
    return "x".join(map(str, [*shape[:2][::-1], *shape[2:]]))


def check_like_image(name: object, shape: Sequence[int], image_shape: Sequence[int]) -> None:
    """Raise ValueError that begins with `name` where the shape of a map is not the (H, W) of its image (H, W, ...)."""
    expected = image_shape[:2]
    if tuple(shape) != tuple(expected):
        raise ValueError(f"{name}: expected {format_size(expected)} like the image, got {format_size(shape)}")


def fov_diameter(fov: np.ndarray) -> int:
    """Return the larger side of the bounding box of an (H, W) bool FOV, in pixels; 0 for an empty FOV.

    Many cameras cut the circle at top and bottom.
    """
    return max(cv2.boundingRect(fov.astype(np.uint8))[2:])
