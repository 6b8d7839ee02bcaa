"""A photograph that comes from outside, of unknown kind: read, or refused with the cause in one sentence."""

import numpy as np

from src import decode, fov

LEAST_SIDE = 64  # pixels of the field of view; below, no vessel is seen
LEAST_DEVIATION = 2.0  # grey levels of the green channel in the field of view
BLUER = 1.1  # mean of blue / mean of red above which a picture is no fundus, which is red to the eye and the camera


def photograph(given: object, name: str) -> np.ndarray:
    """The (H, W, 3) uint8 RGB photograph in the bytes of a file (PNG, JPEG, TIFF, ...), upright, or in such an array.

    Raises:
        ValueError: it is neither, or the bytes cannot be decoded to their end; the sentence begins with `name`.
    """
    if isinstance(given, bytes):
        return decode.photograph(given, name, upright=True)
    if not isinstance(given, np.ndarray):
        expected = "the bytes of a picture file or an (H, W, 3) uint8 array"
        raise ValueError(f"{name}: expected {expected}, got {type(given).__name__}")
    if given.dtype != np.uint8 or given.ndim != 3 or given.shape[2] != 3 or not given.size:
        raise ValueError(f"{name}: expected an array (H, W, 3) uint8, got {given.shape} {given.dtype}")
    return given


def field_of_view(given: object, image: np.ndarray, name: str) -> np.ndarray:
    """The (H, W) bool field of view of an image: drawn, in a file or a bool array, or found where None is given.

    Raises:
        ValueError: there is none, it has another size, or what is in it is no fundus as far as can be told: smaller
            than LEAST_SIDE, without contrast, or blue. The sentence begins with `name`.
    """
    if given is None:
        try:
            field = fov.find(image)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    else:
        field = _drawn(given, image, f"{name}, fov")
    _refuse_other_pictures(image, field, name)
    return field


def _drawn(given: object, image: np.ndarray, name: str) -> np.ndarray:
    """A field of view from outside, of the size of the image."""
    if isinstance(given, bytes):
        given = decode.drawing(given, name, upright=True)
    if not isinstance(given, np.ndarray) or given.dtype != np.bool_:
        found = given.dtype if isinstance(given, np.ndarray) else type(given).__name__
        raise ValueError(f"{name}: expected the bytes of a picture file or an (H, W) bool array, got {found}")
    if given.shape != image.shape[:2]:
        raise ValueError(f"{name}: expected {image.shape[:2]} like the photograph, got {given.shape}")
    return given


def _refuse_other_pictures(image: np.ndarray, field: np.ndarray, name: str) -> None:
    """Refuse a picture that is no photograph of a fundus, as far as can be told from size, contrast and colour."""
    side = max((np.ptp(np.flatnonzero(field.any(axis=axis))) + 1 for axis in (0, 1)), default=0) if field.any() else 0
    if side < LEAST_SIDE:
        raise ValueError(f"{name}: expected a field of view of at least {LEAST_SIDE} pixels, got one of {side}")
    inside = image[field]
    deviation = float(inside[:, 1].std())
    if deviation < LEAST_DEVIATION:
        raise ValueError(f"{name}: expected a photograph of a fundus, got a picture of a single colour")
    red, _, blue = inside.mean(axis=0)
    if blue > BLUER * red:
        expected = "expected a photograph of a fundus, more red than blue"
        raise ValueError(f"{name}: {expected}, got mean levels of {red:.0f} and {blue:.0f}")
