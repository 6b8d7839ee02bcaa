import io

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data import input_validation
from src.synthetic import generator

SYNTHETIC = generator.generate(1, 0, 128, 160)
WHOLE = np.ones((100, 100), bool)


def encoded(image: np.ndarray, kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP"])
def test_bytes_and_array_are_the_same_image(kind):
    read = input_validation.read_fundus(encoded(SYNTHETIC.image, kind), "image 1").image
    assert np.array_equal(read, SYNTHETIC.image)
    assert input_validation.read_fundus(SYNTHETIC.image, "image 1").image is SYNTHETIC.image


def test_jpeg_is_read_as_rgb():
    read = input_validation.read_fundus(encoded(SYNTHETIC.image, "JPEG", quality=95), "image 1").image
    assert np.abs(read.astype(int) - SYNTHETIC.image).mean() < 3


def test_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    content = encoded(SYNTHETIC.image, "JPEG", quality=95, exif=exif)
    assert input_validation.read_fundus(content, "image 1").image.shape == (160, 128, 3)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (b"", "expected an image file, got one that cannot be decoded"),
        (b"no image", "expected an image file, got one that cannot be decoded"),
        (encoded(SYNTHETIC.image, "PNG")[:2000], "expected an image file, got one that cannot be decoded"),
        ("eye.png", r"expected the bytes of an image file or an \(H, W, 3\) uint8 array, got str"),
        (SYNTHETIC.image[..., 0], r"expected an array \(H, W, 3\) uint8, got \(128, 160\) uint8"),
        (SYNTHETIC.image / 255, r"expected an array \(H, W, 3\) uint8, got \(128, 160, 3\) float64"),
        (SYNTHETIC.image[:0], r"expected an array \(H, W, 3\) uint8, got \(0, 160, 3\) uint8"),
    ],
)
def test_invalid_image_is_rejected_with_the_cause(given, cause):
    with pytest.raises(ValueError, match=f"^image 2: {cause}"):
        input_validation.read_fundus(given, "image 2")


def test_small_field_of_view_in_a_large_image_is_rejected():
    """Scaled so that it has its usual size, the image would fill the memory."""
    image = np.zeros((480, 560, 3), np.uint8)
    image[:128, :160] = SYNTHETIC.image
    fov = np.zeros(image.shape[:2], bool)
    fov[:128, :160] = SYNTHETIC.fov
    opaque = np.dstack([image, fov.astype(np.uint8) * 255])
    for given in ({"image": image, "fov": fov}, {"image": encoded(opaque, "PNG")}):
        with pytest.raises(ValueError, match=r"image 1: expected a field of view of at least 10% of the image, got \d"):
            input_validation.read_fundus(name="image 1", **given)


def test_field_of_view_is_detected_or_read():
    found = input_validation.read_fundus(SYNTHETIC.image, "image 1").fov
    assert (found & SYNTHETIC.fov).sum() > 0.97 * (found | SYNTHETIC.fov).sum()
    file = encoded(SYNTHETIC.fov.astype(np.uint8) * 255, "PNG")
    for given in (SYNTHETIC.fov, file):
        assert np.array_equal(input_validation.read_fundus(SYNTHETIC.image, "image 1", given).fov, SYNTHETIC.fov)


@pytest.mark.parametrize(
    ("given", "cause"),
    [
        (SYNTHETIC.fov[1:], r"fov: expected 160x128 like the image, got 160x127"),
        (
            SYNTHETIC.fov.astype(np.uint8),
            r"fov: expected the bytes of an image file or an \(H, W\) bool array, got uint8",
        ),
        (7, r"fov: expected the bytes of an image file or an \(H, W\) bool array, got int"),
        (b"no image", "fov: expected an image file"),
    ],
)
def test_field_of_view_that_does_not_fit_is_rejected(given, cause):
    with pytest.raises(ValueError, match=f"^image 1, {cause}"):
        input_validation.read_fundus(SYNTHETIC.image, "image 1", given)


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (np.zeros((100, 100, 3), np.uint8), "expected a field of view, bright on dark"),
        (np.full((100, 100, 3), 90, np.uint8), "expected a fundus image, got one of a single colour or almost black"),
        (SYNTHETIC.image[..., ::-1], "expected a fundus image, more red than blue"),
        (cv2.resize(SYNTHETIC.image, (40, 32)), "expected a field of view of at least 64 pixels, got one of"),
    ],
)
def test_image_of_no_fundus_is_rejected_with_the_cause(image, cause):
    with pytest.raises(ValueError, match=f"^image 1: {cause}"):
        input_validation.read_fundus(image, "image 1")


@pytest.mark.parametrize("index", range(12))
def test_synthetic_images_are_accepted(index):
    synthetic = generator.generate(1, index, 200, 200)
    assert input_validation.read_fundus(synthetic.image, "image 1").fov.any()


def test_greyscale_image_is_accepted():
    grey = np.repeat(SYNTHETIC.image[..., 1:2], 3, axis=2)
    assert input_validation.read_fundus(grey, "image 1").fov.any()


def with_alpha(colour: int) -> bytes:
    """The synthetic image whose surround has a colour and is transparent."""
    image = np.where(SYNTHETIC.fov[..., None], SYNTHETIC.image, colour).astype(np.uint8)
    return encoded(np.dstack([image, SYNTHETIC.fov * np.uint8(255)]), "PNG")


@pytest.mark.parametrize("colour", [0, 128, 255])
def test_opaque_part_is_the_field_of_view(colour):
    read = input_validation.read_fundus(with_alpha(colour), "image 1")
    assert np.array_equal(read.fov, SYNTHETIC.fov)
    assert not read.image[~read.fov].any()
    given = np.ones(SYNTHETIC.fov.shape, bool)
    assert input_validation.read_fundus(with_alpha(colour), "image 1", given).fov.all()


def side_by_side(image: np.ndarray) -> np.ndarray:
    return np.concatenate([image, image[:, ::-1]], axis=1)


@pytest.mark.parametrize("surround", [0, 255, "transparent"])
def test_two_fields_of_view_are_flagged_and_one_is_returned(surround):
    fov = side_by_side(SYNTHETIC.fov)
    image = np.where(fov[..., None], side_by_side(SYNTHETIC.image), 255 if surround == 255 else 0).astype(np.uint8)
    content = encoded(np.dstack([image, fov * np.uint8(255)]) if surround == "transparent" else image, "PNG")
    read = input_validation.read_fundus(content, "image 1")
    assert read.flags == ("several_fields_of_view",)
    assert read.fov.sum() == pytest.approx(SYNTHETIC.fov.sum(), rel=0.05)


def test_several_pages_are_flagged_and_the_first_is_returned():
    pages = [Image.fromarray(each) for each in (SYNTHETIC.image, SYNTHETIC.image[::-1])]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    read = input_validation.read_fundus(stream.getvalue(), "image 1")
    assert read.flags == ("several_images",)
    assert np.array_equal(read.image, SYNTHETIC.image)
