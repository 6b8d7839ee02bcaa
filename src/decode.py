"""Picture files of any kind (GIF, TIF, PPM, JPG, PNG) to arrays; a broken one is refused, not half read."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "PPM")  # others of Pillow start programs or are rarely looked at
MOST_PIXELS = 50_000_000  # looked at before a picture is decoded; HRF has 8 million, the largest cameras have 45
DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # modes of Pillow whose greys have more than 8 bits
MIDDLE = 127  # a drawing's pixel above it is set; drawings hold 0/255, 3/253 (DRIVE) or greys (RBV)
COLOURED = 48  # levels between the channels of a pixel; DRIVE's palette has 2, JPEG some more
DOUBTFUL = (32, 223)  # a third level between these is neither black nor white
# A third level that JPEG has blurred lies mostly in the inner range and fills squares of 2x2; the greys of borders that
# were resized lie in both ranges, or are narrower. See tests/test_decode.py.
INNER, OUTER = (96, 161), (40, 217)
THIRD_LEVEL = (0.7, 0.03)  # least share in the inner range of that in the outer, and of squares in what is not black
BROKEN = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    EOFError,
    LookupError,
    AttributeError,
    OverflowError,
    ZeroDivisionError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)  # what Pillow raises over damaged files


def photograph(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W, 3) uint8 RGB photograph; `upright`: turned as its EXIF entry says.

    Raises:
        ValueError: it has, or says that it has, more than MOST_PIXELS, cannot be decoded to the end, or has
            floating-point or 32-bit greys; the sentence begins with `name`.
    """
    levels = _levels(_open(content, name, upright), name, "RGB")
    return levels if levels.ndim == 3 else np.repeat(levels[..., None], 3, axis=2)


def drawing(content: bytes, name: str, upright: bool = False) -> np.ndarray:
    """An (H, W) bool drawing (vessels or field of view), the first frame where there are several.

    Raises:
        ValueError: as for a photograph, or what is meant is not to be told: coloured (arteries red, veins blue?), of
            three levels, or dark without being empty (0 and 1 in place of 0 and 255).
    """
    picture = _open(content, name, upright)
    _refuse_coloured(picture, name)
    grey = _levels(picture, name, "L")
    if 0 < grey.max() <= MIDDLE:
        raise ValueError(f"{name}: expected a drawing in 0 and 255, got one whose brightest pixel is {grey.max()}")
    found = np.flatnonzero(np.bincount(grey.ravel(), minlength=256))
    if len(found) == 3 and DOUBTFUL[0] <= found[1] <= DOUBTFUL[1]:
        raise ValueError(f"{name}: expected a drawing in 0 and 255, got one in {found[0]}, {found[1]} and {found[2]}")
    _refuse_third_level(grey, name)
    return grey > MIDDLE


def pixels(content: bytes, name: str) -> int:
    """How many pixels a picture says that it has; ValueError where they are too many or it is no picture."""
    with _named(name):
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    _refuse_huge(picture, name)
    return picture.width * picture.height


def _refuse_coloured(picture: Image.Image, name: str) -> None:
    if picture.mode in ("1", "L", "LA", "F", *DEEP):
        return
    channels = np.asarray(_converted(picture, name, "RGB"))
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if spread > COLOURED:
        raise ValueError(f"{name}: expected a drawing in black and white, got a coloured one")


def _refuse_third_level(grey: np.ndarray, name: str) -> None:
    """Refuse a drawing of which a part is middle grey, such as vessels that are uncertain, also after JPEG."""
    middle, between = (((grey >= least) & (grey < end)) for least, end in (INNER, OUTER))
    squares = np.count_nonzero(middle[1:, 1:] & middle[:-1, 1:] & middle[1:, :-1] & middle[:-1, :-1])
    inner, outer, bright = map(np.count_nonzero, (middle, between, grey >= OUTER[0]))
    if inner > THIRD_LEVEL[0] * outer and squares > THIRD_LEVEL[1] * bright:
        raise ValueError(
            f"{name}: expected a drawing in 0 and 255, got one in which {inner / bright:.0%} of what is not black are "
            f"grey, {INNER[0]} to {INNER[1] - 1}"
        )


def _levels(picture: Image.Image, name: str, mode: str) -> np.ndarray:
    """The picture in 8 bits: (H, W) or, in mode RGB, (H, W, 3) uint8; (H, W) in any mode where its greys are deep."""
    if picture.mode == "F":
        raise ValueError(f"{name}: expected a picture of 8 or 16 bits, got one of floating-point numbers")
    if picture.mode in DEEP:
        return _to_eight_bits(np.asarray(picture), name)
    return np.asarray(_converted(picture, name, mode))


def _to_eight_bits(levels: np.ndarray, name: str) -> np.ndarray:
    """16-bit levels as 8-bit ones, 257 k to k; levels up to 255 are taken for 8-bit ones in a 16-bit file."""
    least, most = levels.min(), levels.max()
    if least < 0 or most > 65535:
        raise ValueError(f"{name}: expected a picture of 8 or 16 bits, got one with levels from {least} to {most}")
    return (levels >> 8 if most > 255 else levels).astype(np.uint8)


def _open(content: bytes, name: str, upright: bool) -> Image.Image:
    """The picture, decoded to its end."""
    with _named(name):
        picture = Image.open(io.BytesIO(content), formats=FORMATS)
    _refuse_huge(picture, name)
    with _named(name):
        picture.load()
        return ImageOps.exif_transpose(picture) if upright else picture


def _refuse_huge(picture: Image.Image, name: str) -> None:
    if picture.width * picture.height > MOST_PIXELS:
        raise ValueError(f"{name}: expected at most {MOST_PIXELS} pixels, got {picture.width}x{picture.height}")


def _converted(picture: Image.Image, name: str, mode: str) -> Image.Image:
    with _named(name):
        return picture.convert(mode)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Turn what Pillow raises over broken files into a ValueError that names the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what is odd in a file that is decoded all the same
            yield
    except BROKEN as error:
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"none of {', '.join(FORMATS)}" if unknown else " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: expected a whole picture, got one that cannot be decoded ({reason})") from error
