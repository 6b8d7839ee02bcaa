import io

import cv2
import numpy as np
import pytest
from PIL import Image

from src import intake, phantom

EYE = phantom.draw(1, 0, 128, 160)
WHOLE = np.ones((100, 100), bool)


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_bytes_and_array_are_the_same_photograph(kind):
    read = intake.photograph(encoded(EYE.image, kind), "photograph 1")
    assert np.array_equal(read, EYE.image)
    assert intake.photograph(EYE.image, "photograph 1") is EYE.image


def test_jpeg_is_read_as_rgb():
    read = intake.photograph(encoded(EYE.image, "JPEG", quality=95), "photograph 1")
    assert np.abs(read.astype(int) - EYE.image).mean() < 3


def test_photograph_is_turned_upright():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    content = encoded(EYE.image, "JPEG", quality=95, exif=exif)
    assert intake.photograph(content, "photograph 1").shape == (160, 128, 3)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (b"", "expected a whole picture, got one that cannot be decoded"),
        (b"no picture", "expected a whole picture, got one that cannot be decoded"),
        (encoded(EYE.image, "PNG")[:2000], "expected a whole picture, got one that cannot be decoded"),
        ("eye.png", r"expected the bytes of a picture file or an \(H, W, 3\) uint8 array, got str"),
        (EYE.image[..., 0], r"expected an array \(H, W, 3\) uint8, got \(128, 160\) uint8"),
        (EYE.image / 255, r"expected an array \(H, W, 3\) uint8, got \(128, 160, 3\) float64"),
        (EYE.image[:0], r"expected an array \(H, W, 3\) uint8, got \(0, 160, 3\) uint8"),
    ],
)
def test_what_is_no_photograph_is_refused_with_the_cause(given, cause):
    with pytest.raises(ValueError, match=f"^photograph 2: {cause}"):
        intake.photograph(given, "photograph 2")


def test_field_of_view_is_found_or_taken_as_given():
    found = intake.field_of_view(None, EYE.image, "photograph 1")
    assert (found & EYE.fov).sum() > 0.97 * (found | EYE.fov).sum()
    drawn = encoded(EYE.fov.astype(np.uint8) * 255, "PNG")
    for given in (EYE.fov, drawn):
        assert np.array_equal(intake.field_of_view(given, EYE.image, "photograph 1"), EYE.fov)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (EYE.fov[1:], r"fov: expected \(128, 160\) like the photograph, got \(127, 160\)"),
        (EYE.fov.astype(np.uint8), r"fov: expected the bytes of a picture file or an \(H, W\) bool array, got uint8"),
        (7, r"fov: expected the bytes of a picture file or an \(H, W\) bool array, got int"),
        (b"no picture", "fov: expected a whole picture"),
    ],
)
def test_field_of_view_that_does_not_fit_is_refused(given, cause):
    with pytest.raises(ValueError, match=f"^photograph 1, {cause}"):
        intake.field_of_view(given, EYE.image, "photograph 1")


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.zeros((100, 100, 3), np.uint8), "expected a field of view, bright on dark"),
        (np.full((100, 100, 3), 90, np.uint8), "expected a photograph of a fundus, got a picture of a single colour"),
        (EYE.image[..., ::-1], "expected a photograph of a fundus, more red than blue"),
        (cv2.resize(EYE.image, (40, 32)), "expected a field of view of at least 64 pixels, got one of"),
    ],
)
def test_picture_of_no_fundus_is_refused_with_the_cause(image, cause):
    with pytest.raises(ValueError, match=f"^photograph 1: {cause}"):
        intake.field_of_view(None, image, "photograph 1")


@pytest.mark.parametrize("index", range(12))
def test_no_drawn_eye_is_refused(index):
    eye = phantom.draw(1, index, 200, 200)
    assert intake.field_of_view(None, eye.image, "photograph 1").any()


def test_grey_photograph_is_taken():
    grey = np.repeat(EYE.image[..., 1:2], 3, axis=2)
    assert intake.field_of_view(None, grey, "photograph 1").any()
