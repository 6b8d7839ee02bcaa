"""Read an image from outside, or reject it with the cause in one error message."""

from typing import NamedTuple

import numpy as np

from src.common import image_geometry
from src.data import fov_detection, image_decoding
from src.data.dicom import Acquisition
from src.data.fov_detection import MIN_FRACTION
from src.data.image_decoding import DecodedImage

MIN_FOV_SIDE = 64  # pixels; below, no vessel is visible
MIN_DEVIATION = 2.0  # intensity levels of the green channel in the field of view
MAX_BLUE_TO_RED = 1.1  # ratio of means; a fundus is red


class FundusInput(NamedTuple):
    """A valid input.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        fov: its field of view, (H, W) bool.
        flags: `several_images` and `several_fields_of_view`, where the first or the largest one is returned.
        acquisition: camera and scale, of a DICOM file.
    """

    image: np.ndarray
    fov: np.ndarray
    flags: tuple[str, ...] = ()
    acquisition: Acquisition = Acquisition()


def read_fundus(image: object, name: str, fov: object = None) -> FundusInput:
    """Read an image and its field of view: the given one, else the opaque part, else the detected one.

    Args:
        image: bytes of a file (PNG, JPEG, TIFF, DICOM, ...), whose EXIF orientation is applied; or (H, W, 3) uint8.
        name: beginning of error messages.
        fov: bytes of an image file, an (H, W) bool array, or None.

    Raises:
        ValueError: the bytes cannot be decoded to their end; there is no field of view or one of another size; or the
            image in it is no fundus image: smaller than `MIN_FOV_SIDE` or a tenth of the image, without contrast, or
            blue.
    """
    decoded = _decode(image, name)
    image = decoded.image
    if fov is not None:
        found, fields = _read_given_fov(fov, image, f"{name}, fov"), 1
    elif decoded.opaque is not None:
        image, found, fields = fov_detection.opaque_field(image, decoded.opaque)
    else:
        found, fields = _detect_fov(image, name)
    _check_fundus(image, found, name)
    flags = {"several_images": decoded.pages > 1, "several_fields_of_view": fields > 1}
    return FundusInput(image, found, tuple(flag for flag in flags if flags[flag]), decoded.acquisition)


def _decode(given: object, name: str) -> DecodedImage:
    if isinstance(given, bytes):
        return image_decoding.decode(given, name, apply_orientation=True)
    if not isinstance(given, np.ndarray):
        expected = "the bytes of an image file or an (H, W, 3) uint8 array"
        raise ValueError(f"{name}: expected {expected}, got {type(given).__name__}")
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise ValueError(f"{name}: expected an array (H, W, 3) uint8, got {given.shape} {given.dtype}")
    return DecodedImage(given)


def _detect_fov(image: np.ndarray, name: str) -> tuple[np.ndarray, int]:
    try:
        return fov_detection.detect(image), fov_detection.count_fields(image)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _read_given_fov(given: object, image: np.ndarray, name: str) -> np.ndarray:
    """Read a field of view of the size of the image."""
    if isinstance(given, bytes):
        given = image_decoding.decode_annotation(given, name, apply_orientation=True)
    if not isinstance(given, np.ndarray) or given.dtype != np.bool_:
        found = given.dtype if isinstance(given, np.ndarray) else type(given).__name__
        raise ValueError(f"{name}: expected the bytes of an image file or an (H, W) bool array, got {found}")
    image_geometry.check_like_image(name, given.shape, image.shape)
    return given


def _check_fundus(image: np.ndarray, fov: np.ndarray, name: str) -> None:
    """Raise ValueError for what is no fundus image, as far as size, contrast and colour can tell."""
    side = image_geometry.fov_diameter(fov)
    if side < MIN_FOV_SIDE:
        raise ValueError(f"{name}: expected a field of view of at least {MIN_FOV_SIDE} pixels, got one of {side}")
    if fov.mean() < MIN_FRACTION:  # scaled so that the field of view has its usual size, the image would need gigabytes
        expected = f"expected a field of view of at least {MIN_FRACTION:.0%} of the image"
        raise ValueError(f"{name}: {expected}, got {fov.mean():.1%}; crop the image to it")
    inside = image[fov]
    deviation = float(inside[:, 1].std())
    if deviation < MIN_DEVIATION:
        raise ValueError(f"{name}: expected a fundus image, got one of a single colour or almost black")
    red, _, blue = inside.mean(axis=0)
    if blue > MAX_BLUE_TO_RED * red:
        expected = "expected a fundus image, more red than blue"
        raise ValueError(f"{name}: {expected}, got mean levels of {red:.0f} and {blue:.0f}")
