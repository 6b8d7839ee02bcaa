import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from src import decode

GREY = np.tile(np.arange(0, 240, 10, dtype=np.uint8), (20, 1))
COLOUR = np.stack([GREY, GREY // 2, GREY // 4], axis=2)
LINES = np.where(GREY > 127, np.uint8(255), np.uint8(0))


def vessels(seed: int) -> np.ndarray:
    """Lines of one to six pixels in all directions, (H, W) bool, over the whole picture."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((160, 200), np.uint8)
    for end in range(10, 200, 12):
        points = (end, 0), (int(np.clip(end + rng.integers(-60, 60), 0, 199)), 159)
        cv2.line(picture, *points, 1, int(rng.integers(1, 7)))
    return picture > 0


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def png(width: int, height: int) -> bytes:
    """A PNG that says it has this size."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(999))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("read", [decode.photograph, decode.drawing, decode.pixels])
@pytest.mark.parametrize("size", [(20_000, 20_000), (10_001, 5000), (2**31 - 1, 2**31 - 1)])
def test_picture_of_too_many_pixels_is_refused_before_it_is_decoded(read, size):
    with pytest.raises(ValueError, match=r"^a: expected (at most 50000000 pixels|a whole picture), got"):
        read(png(*size), "a")


def test_number_of_pixels_is_that_of_the_head():
    assert decode.pixels(png(7000, 7000), "a") == 49_000_000


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
def test_photograph_of_each_mode_has_its_colours(mode, kind):
    content = saved(Image.fromarray(COLOUR).convert(mode), kind)
    assert np.array_equal(decode.photograph(content, "a"), COLOUR)


def test_cmyk_jpeg_has_its_colours():
    content = saved(Image.fromarray(COLOUR).convert("CMYK"), "JPEG", quality=100)
    assert np.abs(decode.photograph(content, "a").astype(int) - COLOUR).mean() < 5


@pytest.mark.parametrize("kind", ["TIFF", "GIF"])
def test_first_page_is_the_photograph(kind):
    first, second = Image.fromarray(GREY), Image.fromarray(255 - GREY)
    content = saved(first, kind, save_all=True, append_images=[second])
    assert np.array_equal(decode.photograph(content, "a")[..., 0], GREY)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photograph_is_turned_as_its_exif_entry_says(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = saved(Image.fromarray(COLOUR), "PNG", exif=exif)
    turned = decode.photograph(content, "a", upright=True)
    assert turned.shape[:2] == (GREY.shape if orientation < 5 else GREY.shape[::-1])
    assert np.array_equal(decode.photograph(content, "a"), COLOUR)


@pytest.mark.parametrize("kind", ["WEBP", "ICO", "TGA", "PDF", "EPS"])
def test_other_kinds_are_refused_also_where_pillow_knows_them(kind):
    with pytest.raises(ValueError, match=r"^a: expected a whole picture, .*none of PNG, JPEG"):
        decode.photograph(saved(Image.fromarray(COLOUR), kind), "a")


@pytest.mark.parametrize("channel", range(3))
def test_coloured_drawing_is_refused(channel):
    drawing = np.zeros((*LINES.shape, 3), np.uint8)
    drawing[..., channel] = LINES  # arteries red, veins blue: blue and red are dark when greyed
    with pytest.raises(ValueError, match=r"^a: expected a drawing in black and white, got a coloured one$"):
        decode.drawing(saved(Image.fromarray(drawing), "PNG"), "a")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "1", "LA", "L", "CMYK"])
def test_drawing_of_each_mode_is_read(mode):
    kind = "TIFF" if mode == "CMYK" else "PNG"
    assert np.array_equal(decode.drawing(saved(Image.fromarray(LINES).convert(mode), kind), "a"), LINES > 0)


def test_drawing_of_three_levels_is_refused_and_of_many_taken():
    three = np.where(GREY > 200, np.uint8(128), LINES)
    with pytest.raises(ValueError, match=r"^a: expected a drawing in 0 and 255, got one in 0, 128 and 255$"):
        decode.drawing(saved(Image.fromarray(three), "PNG"), "a")
    assert np.array_equal(decode.drawing(saved(Image.fromarray(GREY), "PNG"), "a"), GREY > 127)


@settings(max_examples=60, deadline=None)
@given(quality=st.integers(75, 100), middle=st.integers(120, 136), seed=st.integers(0, 2**16), part=st.floats(0.2, 0.8))
def test_drawing_of_three_levels_in_a_jpeg_is_refused(quality, middle, seed, part):
    lines = vessels(seed)
    three = np.where(lines, np.uint8(255), np.uint8(0))
    three[:, : round(part * lines.shape[1])][lines[:, : round(part * lines.shape[1])]] = middle
    with pytest.raises(
        ValueError, match=r"^a: expected a drawing in 0 and 255, got one in which \d+% of what is not bl"
    ):
        decode.drawing(saved(Image.fromarray(three), "JPEG", quality=quality), "a")


@settings(max_examples=60, deadline=None)
@given(quality=st.integers(30, 100), seed=st.integers(0, 2**16), scale=st.floats(0.3, 2), kind=st.integers(0, 3))
def test_drawing_of_two_levels_in_a_resized_jpeg_is_read(quality, seed, scale, kind):
    lines = vessels(seed).astype(np.uint8) * 255
    resized = cv2.resize(lines, None, fx=scale, fy=scale, interpolation=kind)  # nearest, linear, cubic, area
    decode.drawing(saved(Image.fromarray(resized), "JPEG", quality=quality), "a")


WHOLE = {
    kind: saved(Image.fromarray(COLOUR), kind, **options)
    for kind, options in (("PNG", {}), ("JPEG", {}), ("TIFF", {"compression": "tiff_lzw"}), ("GIF", {}), ("BMP", {}))
}


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(list(WHOLE)),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    upright=st.booleans(),
)
def test_damaged_picture_is_read_or_refused_by_name(kind, places, upright):
    content = bytearray(WHOLE[kind])
    for place, value in places:
        content[int(place**3 * len(content))] = value  # the head more often
    try:
        image = decode.photograph(bytes(content), "images/a", upright)
    except ValueError as error:
        if type(error) is not ValueError or not str(error).startswith("images/a: expected"):
            raise AssertionError from error
        return
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
