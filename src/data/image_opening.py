"""Open image files of all kinds as Pillow images of 8 bits a channel."""

import contextlib
import gzip
import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from src.data import bit_depth, dicom, tiff_pages
from src.data.dicom import Acquisition

FORMATS = ("PNG", "JPEG", "TIFF", "GIF", "BMP", "PPM", "WEBP", "JPEG2000")  # others start programs or are rarely used
SUFFIXES = (
    *(".bmp", ".dcm", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pgm", ".png", ".pnm", ".ppm", ".ppm.gz"),
    *(".tif", ".tiff", ".webp"),
)  # of these formats and of DICOM
MAX_PIXELS = 50_000_000  # checked before decoding; HRF has 8 million, the largest cameras have 45
MAX_BYTES = 512 * 2**20  # of a file, unpacked
GZIP = b"\x1f\x8b"  # STARE has .ppm.gz
SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")  # of PNG and JPEG
SIGNATURE_BYTES = dicom.MAGIC_START + len(dicom.MAGIC)
DEEP_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's greyscale modes of more than 8 bits
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}  # by the number of channels
DEEP_COLOUR_PNG = (2, 4, 6)  # colour types of PNG that Pillow reduces to 8 bits
PNG_DEPTH, PNG_COLOUR = 24, 25  # bytes of the header
ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # what undoes an EXIF orientation
ORIENTATION_TAG = 0x0112
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
    RuntimeError,
    AssertionError,
    struct.error,
    zlib.error,
    cv2.error,
    Image.DecompressionBombError,
)  # what Pillow, tifffile and OpenCV raise for damaged files


class OpenedImage(NamedTuple):
    """An image of 8 bits a channel, decoded to its end; see `image_decoding.DecodedImage`."""

    picture: Image.Image
    pages: int = 1
    acquisition: Acquisition = Acquisition()


def has_signature(begin: bytes) -> bool:
    """Return whether the first SIGNATURE_BYTES of a file are those of JPEG, PNG, TIFF or DICOM."""
    return begin.startswith(SIGNATURES) or dicom.is_dicom(begin) or tiff_pages.is_tiff(begin)


def pixel_count(content: bytes, name: str) -> int:
    """Read the number of pixels from an image file's header; ValueError where they are too many or it is no image."""
    content = _unpacked(content, name)
    if dicom.is_dicom(content):
        height, width = dicom.read_size(content, name)
    elif tiff_pages.is_tiff(content):
        with _decoding_errors(name):
            page = tiff_pages.find_page(content, max_pixels=0)
        height, width = page.height, page.width
    else:
        with _decoding_errors(name):
            opened = Image.open(io.BytesIO(content), formats=FORMATS)
        height, width = opened.height, opened.width
    _check_pixel_count(height, width, name)
    return height * width


def _unpacked(content: bytes, name: str) -> bytes:
    """Unpack a file that was compressed by gzip."""
    if not content.startswith(GZIP):
        return content
    with _decoding_errors(name), gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        unpacked = stream.read(MAX_BYTES + 1)
    if len(unpacked) > MAX_BYTES:
        raise ValueError(f"{name}: expected at most {MAX_BYTES} bytes, got more")
    return unpacked


def open_image(content: bytes, name: str, apply_orientation: bool) -> OpenedImage:
    """Decode an image to its end, to 8 bits a channel; `apply_orientation`: rotated as its EXIF orientation says.

    Raises:
        ValueError: see `image_decoding.decode`.
    """
    content = _unpacked(content, name)
    if dicom.is_dicom(content):
        _check_pixel_count(*dicom.read_size(content, name), name)
        read = dicom.read(content, name)
        return OpenedImage(_picture(read.channels), 1, read.acquisition)
    if tiff_pages.is_tiff(content):
        return _open_tiff(content, name)
    with _decoding_errors(name):
        opened = Image.open(io.BytesIO(content), formats=FORMATS)
    _check_pixel_count(opened.height, opened.width, name)
    with _decoding_errors(name):
        opened.load()
        pages = 1 if opened.format == "MPO" else getattr(opened, "n_frames", 1)  # other frames of MPO are previews
        orientation = opened.getexif().get(ORIENTATION_TAG, 1) if apply_orientation else 1
    picture = _reduced(_deep_png(content, name), name) if _is_deep_colour_png(content) else _eight_bits(opened, name)
    return OpenedImage(_upright(picture, orientation), pages)


def _open_tiff(content: bytes, name: str) -> OpenedImage:
    """Decode the first page of full resolution; its orientation is always applied, as Pillow does."""
    with _decoding_errors(name):
        page = tiff_pages.find_page(content, MAX_PIXELS)
    _check_pixel_count(page.height, page.width, name)
    if page.channels is not None:
        return OpenedImage(_upright(_picture(page.channels), page.orientation), page.pages)
    with _decoding_errors(name):
        try:
            opened = Image.open(io.BytesIO(content), formats=("TIFF",))
        except UnidentifiedImageError as error:
            raise tiff_pages.unknown_kind(page.kind) from error
        opened.seek(page.number)
        opened.load()
    return OpenedImage(_eight_bits(opened, name), page.pages)


def _upright(picture: Image.Image, orientation: int) -> Image.Image:
    method = ORIENTATIONS.get(orientation)
    return picture if method is None else picture.transpose(method)


def _is_deep_colour_png(content: bytes) -> bool:
    return content.startswith(b"\x89PNG") and content[PNG_DEPTH] == 16 and content[PNG_COLOUR] in DEEP_COLOUR_PNG


def _deep_png(content: bytes, name: str) -> np.ndarray:
    """Decode a 16-bit PNG with colours or an alpha channel, (H, W, C) uint16."""
    with _decoding_errors(name):
        levels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if levels is None or levels.dtype != np.uint16 or levels.ndim != 3:
        raise ValueError(f"{name}: expected an image file, got a 16-bit PNG that cannot be decoded")
    has_alpha = content[PNG_COLOUR] != 2 and levels.shape[2] == 4
    return levels[..., [2, 1, 0, 3] if has_alpha else [2, 1, 0]]


def _eight_bits(opened: Image.Image, name: str) -> Image.Image:
    if opened.mode == "F":
        raise ValueError(f"{name}: expected an image of 8 or 16 bits, got one of floating-point numbers")
    return _reduced(np.asarray(opened)[..., None], name) if opened.mode in DEEP_MODES else opened


def _reduced(levels: np.ndarray, name: str) -> Image.Image:
    """Reduce levels (H, W, C) of any integer type to an image of 8 bits."""
    try:
        return _picture(bit_depth.to_eight_bits(levels))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _picture(channels: np.ndarray) -> Image.Image:
    grey = channels.shape[2] == 1
    return Image.fromarray(channels[..., 0] if grey else channels, MODES[channels.shape[2]])


def _check_pixel_count(height: int, width: int, name: str) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{name}: expected at most {MAX_PIXELS} pixels, got {width}x{height}")


def convert(opened: Image.Image, name: str, mode: str) -> Image.Image:
    """Convert an opened image to another mode of Pillow; raises as `open_image`."""
    with _decoding_errors(name):
        return opened.convert(mode)


@contextlib.contextmanager
def _decoding_errors(name: str) -> Iterator[None]:
    """Turn what Pillow raises for broken files into a ValueError that begins with `name`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about oddities of a file that can be decoded
            yield
    except BROKEN as error:
        if str(error).startswith("expected "):  # the kind of the file is known, and named
            raise ValueError(f"{name}: {error}") from error
        unknown = isinstance(error, UnidentifiedImageError)
        reason = f"none of {', '.join(FORMATS)}" if unknown else " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{name}: expected an image file, got one that cannot be decoded ({reason})") from error
