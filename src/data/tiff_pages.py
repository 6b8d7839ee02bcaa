"""The page of a TIFF file that holds the image, and its intensities where they have more than 8 bits.

Pillow decodes TIFF files of up to 8 bits. It reads deeper ones to their upper 8 bits at best, and some of them wrongly.
"""

import io
import logging
import math
from typing import NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image
from tifffile import COMPRESSION, PHOTOMETRIC, PLANARCONFIG, SAMPLEFORMAT, TiffPage

from src.data import bit_depth

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # TIFF and BigTIFF, of either byte order
REDUCED, TRANSPARENCY = 1, 4  # bits of the tag NewSubfileType
MIN_SIDE_FRACTION = 0.5  # of the longest page: smaller ones are thumbnails
OWN_CODECS = (COMPRESSION.NONE, COMPRESSION.DEFLATE, COMPRESSION.ADOBE_DEFLATE, COMPRESSION.PACKBITS)  # of tifffile
WHOLE_BYTES = (16, 32, 64)  # bits a sample
GREY = (PHOTOMETRIC.MINISBLACK, PHOTOMETRIC.MINISWHITE)
PILLOW_PLANAR = (PHOTOMETRIC.RGB, PHOTOMETRIC.SEPARATED)  # colours that Pillow reads from separate planes
ALPHA = (1, 2)  # values of the tag ExtraSamples
logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # a failure is named by an error message of our own
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class ImagePage(NamedTuple):
    """The first page of full resolution.

    Attributes:
        number: its place in the file, from 0.
        pages: how many pages of full resolution there are.
        height: pixels.
        width: pixels.
        orientation: as in EXIF, 1 to 8; 1 where the channels are upright.
        kind: depth, channels, colours and compression, for error messages.
        channels: (H, W, C) uint8, C as in L, LA, RGB and RGBA; None where Pillow decodes the page.
    """

    number: int
    pages: int
    height: int
    width: int
    orientation: int
    kind: str
    channels: np.ndarray | None = None


def is_tiff(content: bytes) -> bool:
    """Return whether a file begins as TIFF files do."""
    return content.startswith(MAGIC)


def find_page(content: bytes, max_pixels: int) -> ImagePage:
    """Find the image in a TIFF file, and decode it if it has more than 8 bits and at most `max_pixels`.

    Raises:
        ValueError: it cannot be decoded exactly; the message says of what kind it is.
        Exception: of many kinds, for a damaged file.
    """
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        pages = [page for page in file.pages if isinstance(page, TiffPage | tifffile.TiffFrame)]
        full = _full_resolution(pages)
        index = full[0]
        page = pages[index].aspage()
        orientation = int(page.tags.valueof(274, 1))
        found = ImagePage(index, len(full), page.imagelength, page.imagewidth, orientation, _kind(page))
        _check_kind(page)
        if page.bitspersample <= 8 or found.height * found.width > max_pixels:
            return found
        upright = page.compression == COMPRESSION.LZW  # OpenCV and Pillow, which decode LZW, apply the orientation
        return found._replace(
            channels=_deep_channels(page, index, content), orientation=1 if upright else found.orientation
        )


def _full_resolution(pages: list[TiffPage | tifffile.TiffFrame]) -> list[int]:
    """Return the numbers of the pages that are no thumbnail and no mask; all where there is no other."""
    whole = [page.aspage() for page in pages]
    full = [index for index, page in enumerate(whole) if not page.subfiletype & (REDUCED | TRANSPARENCY)]
    full = full or list(range(len(whole)))
    longest = max(max(whole[index].imagelength, whole[index].imagewidth) for index in full)
    least = MIN_SIDE_FRACTION * longest
    return [index for index in full if max(whole[index].imagelength, whole[index].imagewidth) >= least]


def _check_kind(page: TiffPage) -> None:
    """Raise ValueError for kinds of TIFF that are not decoded exactly."""
    if page.sampleformat in (SAMPLEFORMAT.IEEEFP, SAMPLEFORMAT.COMPLEXIEEEFP):
        raise ValueError("expected an image of 8 or 16 bits, got one of floating-point numbers")
    planar = page.planarconfig == PLANARCONFIG.SEPARATE and page.samplesperpixel > 1
    if page.bitspersample <= 8:
        if planar and page.photometric not in PILLOW_PLANAR:
            raise unknown_kind(_kind(page))
        return
    samples, colour = page.samplesperpixel, page.photometric == PHOTOMETRIC.RGB
    known = (colour and samples in (3, 4)) or (page.photometric in GREY and samples in (1, 2))
    inverted_signed = page.photometric == PHOTOMETRIC.MINISWHITE and page.sampleformat == SAMPLEFORMAT.INT
    lzw = page.compression == COMPRESSION.LZW and samples != 2 and (not planar or page.dtype == np.uint16)
    known = known and page.bitspersample in WHOLE_BYTES
    if not known or inverted_signed or page.dtype is None or not (page.compression in OWN_CODECS or lzw):
        raise unknown_kind(_kind(page))


def unknown_kind(kind: str) -> ValueError:
    """Return the error for a kind of TIFF that is not decoded exactly."""
    return ValueError(f"expected a TIFF of a kind that is decoded exactly, got {kind}; save it as PNG")


def _kind(page: TiffPage) -> str:
    planar = "separate planes, " if page.planarconfig == PLANARCONFIG.SEPARATE else ""
    colours = f"photometric {_name(page.photometric)}, compression {_name(page.compression)}"
    return f"{page.bitspersample} bits, {page.samplesperpixel} channels, {planar}{colours}"


def _name(value: object) -> str:
    return str(getattr(value, "name", value))


def _deep_channels(page: TiffPage, index: int, content: bytes) -> np.ndarray:
    """Decode a page of more than 8 bits, see `ImagePage.channels`."""
    _check_whole(page, len(content))
    if page.compression == COMPRESSION.LZW and page.planarconfig == PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        return _upper_bits(page, index, content)
    levels = _decode_lzw(page, index, content) if page.compression == COMPRESSION.LZW else page.asarray()
    if page.planarconfig == PLANARCONFIG.SEPARATE and page.samplesperpixel > 1:
        levels = np.moveaxis(levels, 0, -1)
    levels = levels.reshape(*levels.shape[:2], page.samplesperpixel)
    has_alpha = bool(page.extrasamples) and page.extrasamples[0] in ALPHA
    colours = 3 if page.photometric == PHOTOMETRIC.RGB else 1
    channels = bit_depth.to_eight_bits(levels if has_alpha else levels[..., :colours])
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        channels[..., 0] = 255 - channels[..., 0]
    return channels


def _upper_bits(page: TiffPage, index: int, content: bytes) -> np.ndarray:
    """Decode the upper 8 of 16 bits by Pillow; rejected where the levels have 12 bits or less."""
    picture = Image.open(io.BytesIO(content), formats=("TIFF",))
    picture.seek(index)
    channels = np.array(picture)
    if channels[..., :3].max() <= max(bit_depth.MAX_LEVELS) >> 12:
        raise unknown_kind(_kind(page))
    return channels


def _check_whole(page: TiffPage, size: int) -> None:
    """Raise ValueError where a strip or tile is missing or lies beyond the end of the file."""
    places = list(zip(page.dataoffsets, page.databytecounts, strict=True))
    if len(places) != math.prod(page.chunked) or any(not count or start + count > size for start, count in places):
        raise ValueError("image file is truncated")
    if page.compression == COMPRESSION.NONE and sum(page.databytecounts) < page.nbytes:
        raise ValueError("image file is truncated")


def _decode_lzw(page: TiffPage, index: int, content: bytes) -> np.ndarray:
    """Decode a page by OpenCV, since tifffile does not know LZW; channels come as blue, green, red."""
    done, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED, range=(index, index + 1))
    if not done or len(pages) != 1:
        raise ValueError("the LZW data is damaged")
    levels = pages[0]
    if levels.dtype != page.dtype or levels.size != math.prod(page.shape):
        raise unknown_kind(_kind(page))
    colours = levels.ndim == 3 and levels.shape[2] >= 3
    return levels[..., [2, 1, 0, 3][: levels.shape[2]]] if colours else levels
