"""Layers of a test image in the HTML report, as data URIs: the report needs no other file and no server."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from src.reporting import overlays

MAX_SIDE = 800  # pixels of the longer side: keeps the report small
WEBP_QUALITY = 82  # of the image, in which nothing is measured
TRUTH_LEVELS = 256
PROBABILITY_LEVELS = 64  # as many as can be told apart, in two thirds of the bytes of 256


class ImageLayers(NamedTuple):
    """Data URIs of the layers of one image, and their size in pixels; `outcomes` is transparent between vessels."""

    image: str
    truth: str
    probability: str
    outcomes: str
    width: int
    height: int


def encode_layers(example: overlays.PredictedImage) -> ImageLayers:
    """Encode the image as lossy WebP, the maps as PNG, each with at most MAX_SIDE pixels on the longer side."""
    truth, probability = (
        overlays.shrink(values.astype(np.float64), MAX_SIDE) for values in (example.truth, example.probability)
    )
    height, width = truth.shape
    return ImageLayers(
        image=_webp(overlays.shrink(example.image, MAX_SIDE)),
        truth=_png(_quantise(truth, TRUTH_LEVELS)),
        probability=_png(_quantise(probability, PROBABILITY_LEVELS)),
        outcomes=_png(_shrink_rgba(overlays.outcome_layer(example))),
        width=width,
        height=height,
    )


def data_uri(content: bytes, media_type: str) -> str:
    """Return the data URI of a file's content.

    >>> data_uri(b"abc", "image/png")
    'data:image/png;base64,YWJj'
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def _quantise(values: np.ndarray, levels: int) -> np.ndarray:
    """Map fractions (H, W) in [0, 1] to that many grey levels from 0 to 255, (H, W) uint8."""
    return np.round(np.round(values * (levels - 1)) * (255 / (levels - 1))).astype(np.uint8)


def _shrink_rgba(picture: np.ndarray) -> np.ndarray:
    """Shrink (H, W, 4) uint8 RGBA; transparent pixels do not blend their colour into their neighbours."""
    alpha = picture[..., 3:] / 255.0
    small = overlays.shrink(np.concatenate([picture[..., :3] * alpha, alpha], axis=2), MAX_SIDE)
    alpha = small[..., 3:]
    colour = small[..., :3] / np.maximum(alpha, 1e-6)
    return np.round(np.concatenate([colour, alpha * 255.0], axis=2)).astype(np.uint8)


def _png(picture: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return data_uri(content.getvalue(), "image/png")


def _webp(picture: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=WEBP_QUALITY, method=6)
    return data_uri(content.getvalue(), "image/webp")
