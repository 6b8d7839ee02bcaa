"""Picture files of any kind (GIF, TIF, PPM, JPG, PNG) to arrays; a broken one is refused, not half read."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

MIDDLE = 127  # a drawing's pixel above it is set; drawings hold 0/255, 3/253 (DRIVE) or greys (RBV)


def photograph(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W, 3) uint8 RGB photograph; `upright`: turned as its EXIF entry says.

    Raises:
        ValueError: it cannot be decoded to the end; the sentence begins with `name`.
    """
    return np.asarray(_open(content, name, upright).convert("RGB"))


def drawing(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W) bool drawing (vessels or field of view), the first frame where there are several.

    Raises:
        ValueError: it cannot be decoded to the end, or is dark without being empty (0 and 1 in place of 0 and 255).
    """
    picture = _open(content, name, upright)
    grey = np.asarray(picture if picture.mode.startswith(("I", "F")) else picture.convert("L"))
    if grey.max() > 255:
        grey = grey // 257
    if 0 < grey.max() <= MIDDLE:
        raise ValueError(f"{name}: expected a drawing in 0 and 255, got one whose brightest pixel is {grey.max()}")
    return grey > MIDDLE


def _open(content: bytes, name: str, upright: bool) -> Image.Image:
    """The picture, decoded to its end."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
        return ImageOps.exif_transpose(picture) if upright else picture
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
        IndexError,
        struct.error,
        zlib.error,
        Image.DecompressionBombError,
    ) as error:
        raise ValueError(f"{name}: expected a whole picture, got one that cannot be decoded ({error})") from error
