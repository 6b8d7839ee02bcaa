"""Image files and annotations of many kinds, clear, odd and hostile."""

import functools
import gzip
import importlib.util
import io
import itertools
import struct
import zlib
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import tifffile
from PIL import Image

SIDE = 96  # pixels of the synthetic fundus images


RGB = ((190, 90, 40), 50)  # background of a synthetic fundus image, and how much darker its vessels are


def synthetic_fundus(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a red disc with dark lines, (SIDE, SIDE, 3) uint8, and the lines, (SIDE, SIDE) bool."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(y - SIDE / 2, x - SIDE / 2) < 0.46 * SIDE
    vessels = inside & (np.sin(0.3 * x + rng.uniform(0.05, 0.2) * y + rng.uniform(0, 6)) > 0.93)
    background, darker = RGB
    image = np.array(background) - darker * vessels[..., None] + rng.integers(0, 20, (SIDE, SIDE, 1))
    return np.where(inside[..., None], image, 0).astype(np.uint8), vessels


def encode(picture: Image.Image | np.ndarray, kind: str = "PNG", **options: Any) -> bytes:
    """Encode a picture as a file of one of Pillow's kinds."""
    stream = io.BytesIO()
    (picture if isinstance(picture, Image.Image) else Image.fromarray(picture)).save(stream, kind, **options)
    return stream.getvalue()


def _huge_png(side: int, depth: int, colour: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    body = zlib.compress(bytes(min(side * depth // 8 * 3, 10**6) * 50))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _deep_images(picture: Image.Image) -> list[bytes]:
    """Encode a picture in 16 bits and in DICOM: several planes, pages, an alpha channel."""
    colours = np.asarray(picture).astype(np.uint16) * 257
    rgba = np.dstack([colours, np.full(colours.shape[:2], 65535, np.uint16)])
    found = [cv2.imencode(suffix, array)[1].tobytes() for suffix in (".png", ".tif") for array in (colours, rgba)]
    for planar, compression, order in itertools.product((False, True), (None, "zlib"), "<>"):
        stream = io.BytesIO()
        with tifffile.TiffWriter(stream, byteorder=order) as writer:
            writer.write(colours[::4, ::4], photometric="rgb", subfiletype=1)
            array = np.moveaxis(colours, 2, 0) if planar else colours
            options = {"planarconfig": "separate" if planar else "contig", "compression": compression}
            writer.write(array, photometric="rgb", tile=(32, 32) if planar else None, **options)
        found.append(stream.getvalue())
    return [*found, gzip.compress(encode(picture, "PPM")), *_dicom_files(np.asarray(picture))]


def _dicom_files(image: np.ndarray) -> list[bytes]:
    """Encode an image as DICOM files; none without pydicom."""
    if importlib.util.find_spec("pydicom") is None:
        return []
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless, generate_uid

    found = []
    for syntax in (ExplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless):
        file = Dataset()
        file.file_meta = FileMetaDataset()
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
        file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
        file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file.Modality, file.PixelSpacing, file.ImageLaterality = "OP", [0.01, 0.01], "L"
        file.Rows, file.Columns, file.SamplesPerPixel, file.PlanarConfiguration = *image.shape, 0
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 8, 8, 7, 0
        file.PhotometricInterpretation = "YBR_FULL_422" if syntax == JPEGBaseline8Bit else "RGB"
        file.PixelData = image.tobytes()
        if syntax == RLELossless:
            file.compress(RLELossless)
        elif syntax == JPEGBaseline8Bit:
            file.PixelData = encapsulate([encode(image, "JPEG", subsampling=1)])
            file["PixelData"].is_undefined_length = True
            file.file_meta.TransferSyntaxUID = syntax
        stream = io.BytesIO()
        file.save_as(stream, enforce_file_format=True)
        found.append(stream.getvalue())
    return found


@functools.cache
def image_files() -> tuple[bytes, ...]:
    """Encode a synthetic fundus image in many kinds and modes, some of which are to be rejected."""
    picture = Image.fromarray(synthetic_fundus(1)[0])
    deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
    rotated = [picture.rotate(angle) for angle in (90, 180)]
    found = [encode(picture, kind) for kind in ("PNG", "BMP", "PPM", "TIFF", "WEBP", "ICO", "TGA", "JPEG2000", "PDF")]
    for orientation in range(10):
        exif = Image.Exif()
        exif[0x0112] = orientation
        found.append(encode(picture, "JPEG", exif=exif, quality=9 * orientation + 5))
    found += [encode(picture.convert(mode)) for mode in ("RGBA", "LA", "P", "L", "1")]
    found += [encode(picture.convert(mode), "JPEG") for mode in ("CMYK", "L")]
    found += [encode(picture.convert(mode), "TIFF") for mode in ("LAB", "YCbCr", "RGBX", "F")]
    found += [encode(picture, "TIFF", compression=name) for name in ("tiff_lzw", "jpeg", "tiff_deflate", "packbits")]
    found += [encode(deep, kind) for kind in ("PNG", "TIFF", "PPM")]
    found += [encode(picture, kind, save_all=True, append_images=rotated) for kind in ("GIF", "TIFF")]
    found += [encode(picture.resize(size)) for size in ((1, 1), (3, 400), (5, 2))]
    found += _deep_images(picture)
    found += [_huge_png(side, *depth) for side in (8000, 20_000, 2**31 - 1) for depth in ((8, 0), (8, 2), (16, 6))]
    return (*found, b"", b"no image")


class Annotation(NamedTuple):
    """An annotation in a file, and what a reader has to do: accept it, accept it with a warning, or reject it."""

    content: bytes
    expected: Literal["accepted", "warned of", "rejected"]


@functools.cache
def annotations(seed: int) -> tuple[Annotation, ...]:
    """Encode the vessels of a synthetic fundus image in ways that are clear, odd, or ambiguous."""
    vessels = synthetic_fundus(seed)[1]
    grey = vessels.astype(np.uint8) * 255
    picture = Image.fromarray(grey)
    half = np.where(np.arange(SIDE) < SIDE // 2, 128, 255)
    red, blue = (np.stack([grey * (channel == shown) for channel in range(3)], axis=-1) for shown in (0, 2))
    clear = [encode(picture.convert(mode)) for mode in ("L", "RGB", "RGBA", "P", "1", "LA")]
    clear += [encode(picture, kind) for kind in ("GIF", "BMP", "TIFF", "PPM")]
    clear += [encode(vessels.astype(np.uint16) * 65535, "TIFF")]
    clear += [encode(picture, "TIFF", save_all=True, append_images=[picture.rotate(90)])]
    odd = [encode(np.zeros_like(grey), kind) for kind in ("PNG", "JPEG")]
    odd += [encode(np.roll(grey, shift, 1)) for shift in (-10, 10)]  # half the distance of two lines
    ambiguous = [encode(np.where(vessels, 255, np.where(np.roll(vessels, 2, 0), 128, 0)).astype(np.uint8))]
    ambiguous += [encode(part) for part in (~grey, vessels.astype(np.uint8), red, blue)]
    ambiguous += [encode(picture.resize((SIDE + 1, SIDE)))]
    ambiguous += [encode((half * vessels).astype(np.uint8), "JPEG", quality=quality) for quality in (75, 90, 100)]
    ambiguous += [encode(~grey, "JPEG", quality=quality) for quality in (50, 80, 100)]
    return (
        *(Annotation(content, "accepted") for content in clear),
        *(Annotation(content, "warned of") for content in odd),
        *(Annotation(content, "rejected") for content in ambiguous),
    )
