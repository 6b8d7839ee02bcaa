import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_file_builders import annotation, encoded, fundus_image
from PIL import Image

from src.data import image_decoding, image_opening

GREY = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (20, 1))
COLOUR = np.stack([GREY, GREY // 2, GREY // 4], axis=2)
LINES = np.where(GREY > 127, np.uint8(255), np.uint8(0))


def vessels(seed: int) -> np.ndarray:
    """Lines of one to six pixels in all directions, (H, W) bool, over the whole image."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((160, 200), np.uint8)
    for end in range(10, 200, 12):
        points = (end, 0), (int(np.clip(end + rng.integers(-60, 60), 0, 199)), 159)
        cv2.line(canvas, *points, 1, int(rng.integers(1, 7)))
    return canvas > 0


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG whose header has this size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("read", [image_decoding.decode, image_decoding.decode_annotation, image_opening.pixel_count])
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 5000), (2**31 - 1, 2**31 - 1)])
def test_image_of_too_many_pixels_is_rejected_before_it_is_decoded(read, size):
    with pytest.raises(ValueError, match=r"^a: expected (at most 50000000 pixels|an image file), got"):
        read(png(*size), "a")


def test_pixel_count_is_that_of_the_header():
    assert image_opening.pixel_count(png(7000, 7000), "a") == 49_000_000


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("RGB", "PNG"),
        ("RGBA", "PNG"),
        ("RGB", "TIFF"),
        ("RGB", "BMP"),
        ("RGB", "PPM"),
        ("CMYK", "TIFF"),
        ("RGBX", "TIFF"),
    ],
)
def test_image_of_each_mode_has_its_colours(mode, kind):
    content = saved(Image.fromarray(COLOUR).convert(mode), kind)
    assert np.array_equal(image_decoding.decode(content, "a").image, COLOUR)


def test_cmyk_jpeg_has_its_colours():
    content = saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=100)
    assert np.abs(image_decoding.decode(content, "a").image.astype(int) - COLOUR).mean() < 5


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_first_page_is_the_image(kind):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    content = saved(first, kind, save_all=True, append_images=[second])
    assert np.array_equal(image_decoding.decode(content, "a").image[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(COLOUR), "PNG", exif=exif)
    rotated = image_decoding.decode(content, "a", apply_orientation=True).image
    assert rotated.shape[:2] == (GREY.shape if orientation < 5 else GREY.shape[::-1])
    assert np.array_equal(image_decoding.decode(content, "a").image, COLOUR)


@pytest.mark.parametrize("kind", ["ICO", "TGA", "PDF", "EPS"])
def test_other_formats_are_rejected_also_where_pillow_knows_them(kind):
    with pytest.raises(ValueError, match=r"^a: expected an image file, .*none of PNG, JPEG"):
        image_decoding.decode(saved(Image.fromarray(COLOUR), kind), "a")


@pytest.mark.parametrize("channel", range(3))
def test_coloured_annotation_is_rejected(channel):
    coloured = np.zeros((*LINES.shape, 3), np.uint8)
    coloured[..., channel] = LINES  # arteries red, veins blue: blue and red are dark when greyed
    with pytest.raises(ValueError, match=r"^a: expected a black and white annotation, got a coloured one$"):
        image_decoding.decode_annotation(saved(Image.fromarray(coloured), "PNG"), "a")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA", "L", "CMYK"])
def test_annotation_of_each_mode_is_decoded(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert np.array_equal(
        image_decoding.decode_annotation(saved(Image.fromarray(LINES).convert(mode), kind), "a"), LINES > 0
    )


def test_annotation_of_three_levels_is_rejected_and_of_many_accepted():
    three = np.where(GREY > 200, np.uint8(128), LINES)
    with pytest.raises(ValueError, match=r"^a: expected an annotation in 0 and 255, got one in 0, 128 and 255$"):
        image_decoding.decode_annotation(saved(Image.fromarray(three), "PNG"), "a")
    assert np.array_equal(image_decoding.decode_annotation(saved(Image.fromarray(GREY), "PNG"), "a"), GREY > 127)


@settings(max_examples=60, deadline=None)
@given(quality=st.integers(75, 100), middle=st.integers(120, 136), seed=st.integers(0, 2**16), part=st.floats(0.3, 0.8))
def test_annotation_of_three_levels_in_a_jpeg_is_rejected(quality, middle, seed, part):
    lines = vessels(seed)
    three = np.where(lines, np.uint8(255), np.uint8(0))
    three[:, : round(part * lines.shape[1])][lines[:, : round(part * lines.shape[1])]] = middle
    with pytest.raises(
        ValueError, match=r"^a: expected an annotation in 0 and 255, got one in which \d+% of what is not bl"
    ):
        image_decoding.decode_annotation(saved(Image.fromarray(three), "JPEG", quality=quality), "a")


@settings(max_examples=60, deadline=None)
@given(quality=st.integers(30, 100), seed=st.integers(0, 2**16), scale=st.floats(0.3, 2), kind=st.integers(0, 3))
def test_annotation_of_two_levels_in_a_resized_jpeg_is_decoded(quality, seed, scale, kind):
    lines = vessels(seed).astype(np.uint8) * 255
    resized = cv2.resize(lines, None, fx=scale, fy=scale, interpolation=kind)  # nearest, linear, cubic, area
    image_decoding.decode_annotation(saved(Image.fromarray(resized), "JPEG", quality=quality), "a")


WHOLE = {
    kind: saved(Image.fromarray(COLOUR), kind, **options)
    for kind, options in (("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("GIF", {}), ("BMP", {}))
}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(WHOLE)),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    apply_orientation=st.booleans(),
)
def test_damaged_image_is_decoded_or_rejected_by_name(kind, places, apply_orientation):
    content = bytearray(WHOLE[kind])
    for place, value in places:
        content[int(place**3 * len(content))] = value  # the header more often
    try:
        image = image_decoding.decode(bytes(content), "images/a", apply_orientation).image
    except ValueError as error:
        if type(error) is not ValueError or not str(error).startswith("images/a: expected"):
            raise AssertionError from error
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".ppm", ".png", ".jpg"])
def test_annotations_and_images_of_each_format_are_decoded(suffix):
    assert (image_decoding.decode_annotation(encoded(annotation(), suffix), "a") == (annotation() > 127)).mean() > 0.99
    if suffix != ".gif":
        difference = image_decoding.decode(encoded(fundus_image(), suffix), "a").image.astype(int) - fundus_image()
        assert np.abs(difference).mean() < 4


def test_levels_of_drive_and_rbv_annotations_are_thresholded():
    for levels, expected in (([3, 253], [False, True]), ([127, 128], [False, True])):
        assert image_decoding.decode_annotation(encoded(np.array([levels], np.uint8), ".png"), "a").tolist() == [
            expected
        ]


def test_first_frame_of_several_is_read():
    frames = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (255, 0)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert image_decoding.decode_annotation(stream.getvalue(), "a").all()


def test_annotation_in_ones_is_rejected():
    with pytest.raises(ValueError, match="a: expected an annotation in 0 and 255, got one whose brightest pixel is 1"):
        image_decoding.decode_annotation(encoded(np.eye(5, dtype=np.uint8), ".png"), "a")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_intensities_keep_their_order(kind):
    ramp = np.arange(256, dtype=np.uint16)[None] * np.uint16(257)
    expected = np.arange(256)[None, :, None].repeat(3, axis=2)
    assert (image_decoding.decode(saved(Image.fromarray(ramp), kind), "a").image == expected).all()
    assert (image_decoding.decode_annotation(saved(Image.fromarray(ramp), kind), "a") == (expected[..., 0] > 127)).all()


def test_eight_bit_annotation_in_a_sixteen_bit_file_is_read():
    levels = annotation().astype(np.uint16)
    assert (image_decoding.decode_annotation(saved(Image.fromarray(levels), "PNG"), "a") == (levels > 127)).all()


@pytest.mark.parametrize("read", [image_decoding.decode, image_decoding.decode_annotation])
@pytest.mark.parametrize(
    ("levels", "error"),
    [
        (np.array([[0.0, 1.0]], np.float32), "got one of floating-point numbers"),
        (np.array([[0, 65536]], np.int32), "got one with levels from 0 to 65536"),
        (np.array([[-1, 9]], np.int32), "got one with levels from -1 to 9"),
    ],
)
def test_image_of_neither_8_nor_16_bits_is_rejected(read, levels, error):
    with pytest.raises(ValueError, match=f"^a: expected an image of 8 or 16 bits, {error}"):
        read(saved(Image.fromarray(levels), "TIFF"), "a")
