"""Decode image files to arrays, exactly; a broken file and one of another kind is rejected, never half read."""

from typing import NamedTuple

import numpy as np
from PIL import Image

from src.data import image_opening
from src.data.dicom import Acquisition

ALPHA_MODES = ("RGBA", "RGBa", "LA", "La", "PA")
BINARY_THRESHOLD = 127  # an annotation is set above it; annotations hold 0/255, 3/253 (DRIVE) or greys (RBV)
MAX_CHANNEL_SPREAD = 48  # levels between the channels of a grey pixel; DRIVE's palette has 2, JPEG some more
AMBIGUOUS = (32, 223)  # a third level between these is neither black nor white
# A third level that JPEG has blurred lies mostly in the inner range and fills squares of 2x2; the greys of borders that
# were resized lie in both ranges, or are narrower. See tests/data/test_image_decoding.py.
INNER, OUTER = (96, 161), (40, 217)
MIN_INNER_FRACTION = 0.7  # of the pixels in the outer range, where there is a third level
MIN_SQUARE_FRACTION = 0.03  # of the pixels that are not black, where there is a third level


class DecodedImage(NamedTuple):
    """A decoded image file.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        opaque: (H, W) bool, where the alpha channel exceeds 127; None where all or nothing is opaque, or without one.
        pages: number of pages or frames of full resolution; the image is the first one.
        acquisition: what a DICOM file says of camera and scale.
    """

    image: np.ndarray
    opaque: np.ndarray | None = None
    pages: int = 1
    acquisition: Acquisition = Acquisition()


def decode(content: bytes, name: str, apply_orientation: bool = False) -> DecodedImage:
    """Decode an image file; `apply_orientation`: rotated as its EXIF orientation says.

    Raises:
        ValueError: it has more than `MAX_PIXELS`, cannot be decoded to the end, has floating-point or 32-bit
            intensities, or is of a kind that is not decoded exactly; the message begins with `name`.
    """
    opened = image_opening.open_image(content, name, apply_orientation)
    image = np.asarray(image_opening.convert(opened.picture, name, "RGB"))
    return DecodedImage(image, _opaque(opened.picture), opened.pages, opened.acquisition)


def decode_annotation(content: bytes, name: str, apply_orientation: bool = False) -> np.ndarray:
    """Decode an (H, W) bool annotation (vessels or field of view), the first frame where there are several.

    Raises:
        ValueError: as for an image, or the annotation is ambiguous: coloured (arteries red, veins blue?), of three
            levels, or dark without being empty (0 and 1 in place of 0 and 255).
    """
    picture = image_opening.open_image(content, name, apply_orientation).picture
    _check_not_coloured(picture, name)
    grey = np.asarray(image_opening.convert(picture, name, "L"))
    if 0 < grey.max() <= BINARY_THRESHOLD:
        raise ValueError(f"{name}: expected an annotation in 0 and 255, got one whose brightest pixel is {grey.max()}")
    found = np.flatnonzero(np.bincount(grey.ravel(), minlength=256))
    if len(found) == 3 and AMBIGUOUS[0] <= found[1] <= AMBIGUOUS[1]:
        levels = f"{found[0]}, {found[1]} and {found[2]}"
        raise ValueError(f"{name}: expected an annotation in 0 and 255, got one in {levels}")
    _check_two_levels(grey, name)
    return grey > BINARY_THRESHOLD


def _check_not_coloured(opened: Image.Image, name: str) -> None:
    if opened.mode in ("1", "L", "LA"):
        return
    channels = np.asarray(image_opening.convert(opened, name, "RGB"))
    spread = int((channels.max(axis=2) - channels.min(axis=2)).max())
    if spread > MAX_CHANNEL_SPREAD:
        raise ValueError(f"{name}: expected a black and white annotation, got a coloured one")


def _check_two_levels(grey: np.ndarray, name: str) -> None:
    """Reject an annotation of which a part is mid-grey, such as vessels marked as uncertain, also after JPEG."""
    middle, between = (((grey >= least) & (grey < end)) for least, end in (INNER, OUTER))
    squares = np.count_nonzero(middle[1:, 1:] & middle[:-1, 1:] & middle[1:, :-1] & middle[:-1, :-1])
    inner, outer, bright = map(np.count_nonzero, (middle, between, grey >= OUTER[0]))
    if inner > MIN_INNER_FRACTION * outer and squares > MIN_SQUARE_FRACTION * bright:
        raise ValueError(
            f"{name}: expected an annotation in 0 and 255, got one in which {inner / bright:.0%} of what is not black "
            f"are grey, {INNER[0]} to {INNER[1] - 1}"
        )


def _opaque(picture: Image.Image) -> np.ndarray | None:
    """Return where an image is opaque, see `DecodedImage.opaque`; a transparent colour of a palette does not count."""
    if picture.mode not in ALPHA_MODES:
        return None
    opaque = np.asarray(picture.getchannel(picture.getbands()[-1])) > BINARY_THRESHOLD
    return opaque if opaque.any() and not opaque.all() else None
