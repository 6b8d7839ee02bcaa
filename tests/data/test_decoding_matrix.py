"""Every kind of TIFF and PNG is decoded exactly, or rejected with its kind in the message."""

import io
import itertools
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_builders import COMPRESSIONS, TiffKind, tiff_bytes

from src.data import image_decoding, image_opening

HEIGHT, WIDTH = 40, 52
GREYS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 4))
GREYS[0, 0] = 255  # so that 12-bit levels are told from 8-bit ones
COLOURS = {
    "grey": TiffKind("minisblack"),
    "grey and alpha": TiffKind("minisblack", alpha="unassalpha"),
    "inverted grey": TiffKind("miniswhite"),
    "palette": TiffKind("palette"),
    "RGB": TiffKind("rgb"),
    "RGB and alpha": TiffKind("rgb", alpha="unassalpha"),
    "RGB and another": TiffKind("rgb", alpha="unspecified"),
    "CMYK": TiffKind("separated"),
    "YCbCr": TiffKind("ycbcr"),
}
CHANNELS = dict(zip(COLOURS, (1, 2, 1, 1, 3, 4, 4, 4, 3), strict=True))


class Depth(NamedTuple):
    """How the 8-bit levels are stored: type, factor and largest level."""

    dtype: str
    factor: float
    most: int


DEPTHS = {
    "1": Depth("bool", 1, 1),
    "8": Depth("u1", 1, 255),
    "12 in 16": Depth("u2", 16, 4095),
    "16": Depth("u2", 257, 65535),
    "8 in 16": Depth("u2", 1, 255),
    "32": Depth("u4", 2**24, 2**32 - 1),
    "16 in 32": Depth("u4", 257, 2**32 - 1),
    "16 signed": Depth("i2", 1, 255),
    "half": Depth("f2", 1 / 255, 1),
    "float": Depth("f4", 1 / 255, 1),
    "double": Depth("f8", 1 / 255, 1),
}
ALWAYS_READ = [  # what microscopes, cameras, Photoshop, ImageJ, MATLAB and OpenCV write
    (colour, depth, planar, compression)
    for colour, depth in itertools.product(("grey", "inverted grey", "RGB", "RGB and alpha"), ("8", "12 in 16", "16"))
    for planar, compression in itertools.product((False, True), COMPRESSIONS)
    if not (planar and compression == "lzw" and depth == "12 in 16") and not (planar and CHANNELS[colour] == 1)
]


def stored(colour: str, depth: Depth) -> np.ndarray:
    """The levels in the file, (H, W, C)."""
    levels = GREYS[..., : CHANNELS[colour]]
    if depth.dtype == "bool":
        return levels > 127
    array = (levels * depth.factor).astype(depth.dtype)
    return (depth.most - array).astype(depth.dtype) if colour == "inverted grey" else array


def expected(colour: str, depth: Depth) -> np.ndarray:
    """The colours in the file, by arithmetic, (H, W, 3)."""
    levels = GREYS if depth.dtype != "bool" else np.where(GREYS > 127, 255, 0)
    if depth.dtype == "bool" and colour == "inverted grey":
        levels = 255 - levels
    if colour == "CMYK":
        return np.rint((255 - levels[..., :3]) * (255 - levels[..., 3:]) / 255)
    if colour == "YCbCr":
        y, cb, cr = np.moveaxis(levels[..., :3] - (0, 128, 128), 2, 0)
        return np.clip(np.stack([y + 1.402 * cr, y - 0.344136 * cb - 0.714136 * cr, y + 1.772 * cb], axis=2), 0, 255)
    return levels[..., :3] if CHANNELS[colour] > 2 else levels[..., :1].repeat(3, axis=2)


def outcome(content: bytes, right: np.ndarray, tolerance: int = 0) -> str:
    """Whether a file is decoded exactly, rejected by name, or neither."""
    try:
        image = image_decoding.decode(content, "a").image
    except ValueError as error:
        named = "got one of floating-point numbers", "got one with levels from", "photometric"
        return "rejected" if any(words in str(error) for words in named) else f"wrong: {error}"
    return "exact" if np.abs(image - right).max() <= tolerance else "wrong: other colours"


def tiff_outcomes() -> dict[tuple[str, str, bool, str], set[str]]:
    """The outcomes of all kinds, each of both byte orders, in strips and in tiles."""
    found: dict[tuple[str, str, bool, str], set[str]] = {}
    for colour, (name, depth), compression, order in itertools.product(COLOURS, DEPTHS.items(), COMPRESSIONS, "<>"):
        planes = (False, True) if CHANNELS[colour] > 1 else (False,)
        for planar, tiled in itertools.product(planes, (False, True)):
            kind = COLOURS[colour]._replace(planar=planar, compression=compression, order=order, tiled=tiled)
            options = {}
            if colour == "palette":
                options["colormap"] = (np.arange(256)[None].repeat(3, axis=0) * 257).astype(np.uint16)
            try:
                content = tiff_bytes(stored(colour, depth), kind, **options)
            except (ValueError, TypeError, KeyError):  # tifffile does not write 1 bit in this kind
                continue
            tolerance = 2 if colour in ("CMYK", "YCbCr") else 0
            result = outcome(content, expected(colour, depth), tolerance)
            found.setdefault((colour, name, planar, compression), set()).add(result)
    return found


@pytest.fixture(scope="module")
def outcomes():
    return tiff_outcomes()


@pytest.mark.slow
def test_no_kind_of_tiff_is_decoded_wrongly(outcomes):
    assert {kind: found for kind, found in outcomes.items() if not found <= {"exact", "rejected"}} == {}
    assert len(outcomes) > 400


@pytest.mark.slow
def test_usual_kinds_of_tiff_are_decoded_exactly(outcomes):
    assert {kind: outcomes[kind] for kind in ALWAYS_READ if outcomes[kind] != {"exact"}} == {}


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("compression", ["jpeg", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "packbits"])
def test_tiff_of_pillow_is_decoded_as_by_opencv(mode, compression):
    smooth = cv2.resize(GREYS[:4, :5, :3].astype(np.uint8), (WIDTH, HEIGHT))
    stream = io.BytesIO()
    Image.fromarray(smooth).convert(mode).save(stream, "TIFF", compression=compression)
    second_route = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    difference = image_decoding.decode(stream.getvalue(), "a").image.astype(int) - second_route
    assert np.abs(difference).max() <= (6 if compression == "jpeg" else 0)


@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("depth", ["8", "12 in 16", "16"])
def test_lzw_of_opencv_is_decoded_exactly(depth, predictor):
    options = [cv2.IMWRITE_TIFF_COMPRESSION, 5, cv2.IMWRITE_TIFF_PREDICTOR, predictor]
    content = cv2.imencode(".tif", stored("RGB", DEPTHS[depth])[..., ::-1], options)[1].tobytes()
    assert outcome(content, expected("RGB", DEPTHS[depth])) == "exact"


@pytest.mark.parametrize("depth", ["8", "8 in 16", "12 in 16", "16"])
@pytest.mark.parametrize("colour", ["grey", "RGB", "RGB and alpha"])
def test_png_of_any_depth_is_decoded_exactly(colour, depth):
    array = stored(colour, DEPTHS[depth])
    bgr = array[..., [2, 1, 0, 3][: array.shape[2]]] if array.shape[2] > 1 else array
    content = cv2.imencode(".png", bgr)[1].tobytes()
    assert outcome(content, expected(colour, DEPTHS[depth])) == "exact"


@pytest.mark.parametrize("suffix", [".webp", ".jp2", ".ppm", ".bmp"])
def test_lossless_file_of_another_format_is_decoded_exactly(suffix):
    image = GREYS[..., :3].astype(np.uint8)
    stream = io.BytesIO()
    kind = {".webp": "WEBP", ".jp2": "JPEG2000", ".ppm": "PPM", ".bmp": "BMP"}[suffix]
    lossless = {".webp": {"lossless": True}, ".jp2": {"irreversible": False}}.get(suffix, {})
    Image.fromarray(image).save(stream, kind, **lossless)
    assert outcome(stream.getvalue(), image) == "exact"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("tiled", [False, True])
def test_deep_tiff_that_is_cut_off_is_rejected(compression, planar, tiled):
    kind = TiffKind("rgb", planar=planar, compression=compression, tiled=tiled)
    content = tiff_bytes(stored("RGB", DEPTHS["16"]), kind)
    for size in range(100, len(content), len(content) // 7):
        with pytest.raises(ValueError, match=r"^a: expected"):
            image_decoding.decode(content[:size], "a")


@pytest.mark.parametrize("colour", ["grey", "RGB"])
@pytest.mark.parametrize(("compression", "planar"), [("none", False), ("deflate", True), ("lzw", False), ("lzw", True)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_of_a_tiff_is_applied_whatever_its_depth(orientation, compression, planar, colour):
    tag = [(274, 3, 1, orientation, True)]
    deep = COLOURS[colour]._replace(compression=compression, planar=planar)
    eight, sixteen = (
        image_decoding.decode(tiff_bytes(stored(colour, DEPTHS[depth]), kind, extratags=tag), "a", True).image
        for depth, kind in (("8", COLOURS[colour]), ("16", deep))
    )
    assert np.array_equal(eight, sixteen)


def pages(*arrays: np.ndarray, subfiletypes: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for array, subfiletype in zip(arrays, subfiletypes, strict=True):
            writer.write(array, photometric="rgb", subfiletype=subfiletype)
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("flagged", [0, 1])
def test_thumbnail_before_the_image_is_skipped(dtype, flagged):
    image = stored("RGB", DEPTHS["8" if dtype == np.uint8 else "16"])
    content = pages(image[::4, ::4], image, subfiletypes=(flagged, 0))
    decoded = image_decoding.decode(content, "a")
    assert np.array_equal(decoded.image, GREYS[..., :3])
    assert decoded.pages == 1
    assert image_opening.pixel_count(content, "a") == HEIGHT * WIDTH


def test_pages_of_full_resolution_are_counted():
    image = stored("RGB", DEPTHS["8"])
    decoded = image_decoding.decode(pages(image, image[::-1], image[::2, ::2], subfiletypes=(0, 0, 1)), "a")
    assert decoded.pages == 2
    assert np.array_equal(decoded.image, image)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("colour", ["grey and alpha", "RGB and alpha"])
def test_alpha_channel_tells_what_is_opaque(colour, dtype):
    array = stored(colour, DEPTHS["8" if dtype == np.uint8 else "16"])
    decoded = image_decoding.decode(tiff_bytes(array, COLOURS[colour]), "a")
    assert np.array_equal(decoded.opaque, GREYS[..., CHANNELS[colour] - 1] > 127)


@pytest.mark.parametrize("alpha", [0, 255])
def test_alpha_channel_of_one_value_tells_nothing(alpha):
    image = np.dstack([GREYS[..., :3], np.full((HEIGHT, WIDTH), alpha)]).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    assert image_decoding.decode(stream.getvalue(), "a").opaque is None
