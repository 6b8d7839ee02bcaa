"""The layers that the page shows of a test image, as data URIs: a page that holds them asks nobody for them."""

import base64
import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from src import pictures

LARGEST = 800  # pixels, the longer side of a picture: keeps the page small
QUALITY = 82  # of a photograph, in which nothing is measured
GREYS = 64  # of a probability map: all that an eye tells apart, in two thirds of the bytes of 256


class Layers(NamedTuple):
    """Data URIs of the pictures of one image, and their size in pixels; `outcomes` is transparent between vessels."""

    photograph: str
    truth: str
    probability: str
    outcomes: str
    width: int
    height: int


def of(example: pictures.Example) -> Layers:
    """The layers of a test image; the photograph as lossy WebP, the maps as PNG."""
    photograph = pictures.shrink(example.image, LARGEST)
    truth, probability = (
        pictures.shrink(picture.astype(np.float64), LARGEST) for picture in (example.truth, example.probability)
    )
    greys = (_greys(truth, 256), _greys(probability, GREYS), _shrunk(pictures.outcomes(example)))
    height, width = truth.shape
    return Layers(_webp(photograph), *map(_png, greys), width, height)


def data_uri(content: bytes, kind: str) -> str:
    """A file as the address of itself.

    >>> data_uri(b"abc", "image/png")
    'data:image/png;base64,YWJj'
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _greys(picture: np.ndarray, count: int) -> np.ndarray:
    """Shares (H, W) in [0, 1] as (H, W) uint8 of that many greys, from 0 to 255."""
    return np.uint8(np.round(np.round(picture * (count - 1)) * (255 / (count - 1))))


def _shrunk(picture: np.ndarray) -> np.ndarray:
    """An (H, W, 4) uint8 RGBA picture made smaller; what is transparent lends its neighbours no colour."""
    alpha = picture[..., 3:] / 255.0
    small = pictures.shrink(np.concatenate([picture[..., :3] * alpha, alpha], axis=2), LARGEST)
    alpha = small[..., 3:]
    return np.uint8(np.round(np.concatenate([small[..., :3] / np.maximum(alpha, 1e-6), alpha * 255.0], axis=2)))


def _png(picture: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return data_uri(content.getvalue(), "image/png")


def _webp(picture: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(picture).save(content, "WEBP", quality=QUALITY, method=6)
    return data_uri(content.getvalue(), "image/webp")
