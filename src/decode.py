"""Picture files of any kind (GIF, TIF, PPM, JPG, PNG) to arrays; a broken one is refused, not half read."""

import io
import struct
import zlib

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # modes of Pillow whose greys have more than 8 bits
MIDDLE = 127  # a drawing's pixel above it is set; drawings hold 0/255, 3/253 (DRIVE) or greys (RBV)


def photograph(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W, 3) uint8 RGB photograph; `upright`: turned as its EXIF entry says.

    Raises:
        ValueError: it cannot be decoded to the end, or has floating-point or 32-bit greys; the sentence begins with
            `name`.
    """
    levels = _read(content, name, upright, "RGB")
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)


def drawing(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W) bool drawing (vessels or field of view), the first frame where there are several.

    Raises:
        ValueError: as for a photograph, or it is dark without being empty (0 and 1 in place of 0 and 255).
    """
    grey = _read(content, name, upright, "L")
    if 0 < grey.max() <= MIDDLE:
        raise ValueError(f"{name}: expected a drawing in 0 and 255, got one whose brightest pixel is {grey.max()}")
    return grey > MIDDLE


def _read(content: bytes, name: str, upright: bool, mode: str) -> np.ndarray:
    """The picture in 8 bits: (H, W) or, in mode RGB, (H, W, 3) uint8; (H, W) in any mode where its greys are deep."""
    picture = _open(content, name, upright, mode)
    if picture.mode == "F":
        raise ValueError(f"{name}: expected a picture of 8 or 16 bits, got one of floating-point numbers")
    levels = np.asarray(picture)
    return _to_eight_bits(levels, name) if picture.mode in DEEP else levels


def _to_eight_bits(levels: np.ndarray, name: str) -> np.ndarray:
    """16-bit levels as 8-bit ones, 257 k to k; levels up to 255 are taken for 8-bit ones in a 16-bit file."""
    least, most = levels.min(), levels.max()
    if least < 0 or most > 65535:
        raise ValueError(f"{name}: expected a picture of 8 or 16 bits, got one with levels from {least} to {most}")
    return (levels >> 8 if most > 255 else levels).astype(np.uint8)


def _open(content: bytes, name: str, upright: bool, mode: str) -> Image.Image:
    """The picture, decoded to its end, in `mode` unless its levels have more than 8 bits."""
    try:
        picture = Image.open(io.BytesIO(content))
        picture.load()
        picture = ImageOps.exif_transpose(picture) if upright else picture
        return picture if picture.mode in (*DEEP, "F") else picture.convert(mode)
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
        cause = (
            "no known kind" if isinstance(error, UnidentifiedImageError) else error
        )  # which names an address in memory
        raise ValueError(f"{name}: expected a whole picture, got one that cannot be decoded ({cause})") from error
