"""Read fundus images in DICOM files, by pydicom where it is installed; names and dates are never read."""

import io
import math
import warnings
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pydicom import Dataset

PYDICOM_VERSION = "3.0.2"
MAGIC, MAGIC_START = b"DICM", 128
MODALITY = "OP"  # ophthalmic photography
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "MONOCHROME1", "MONOCHROME2")
TAGS = (
    *("SOPClassUID", "Modality", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelData"),
    *("ImageLaterality", "Laterality", "PixelSpacing", "ManufacturerModelName"),
)  # all that is read
LATERALITIES = ("R", "L")
MAX_DEVICE = 64  # characters, the longest that DICOM allows
BROKEN = (Exception,)  # pydicom and its codecs raise what they like for damaged files


class Acquisition(NamedTuple):
    """Camera and scale of an image as table cells; empty where unknown.

    Attributes:
        pixel_spacing_mm: millimetres between two pixels on the retina; `ROWSxCOLUMNS` where the two differ.
        laterality: `R` or `L`.
        device: model name of the camera.
    """

    pixel_spacing_mm: str = ""
    laterality: str = ""
    device: str = ""


class DicomImage(NamedTuple):
    """The image of a DICOM file, (H, W, 1 or 3) uint8, and how it was acquired."""

    channels: np.ndarray
    acquisition: Acquisition


def is_dicom(content: bytes) -> bool:
    """Return whether a file begins as DICOM files do."""
    return content[MAGIC_START : MAGIC_START + len(MAGIC)] == MAGIC


def read_size(content: bytes, name: str) -> tuple[int, int]:
    """Return height and width of a DICOM file's image; raises as `read`."""
    dataset = _parse(content, name, with_pixels=False)
    return int(dataset.Rows), int(dataset.Columns)


def read(content: bytes, name: str) -> DicomImage:
    """Read a fundus image (modality OP) of one frame.

    Raises:
        ValueError: pydicom is missing, or the file is of another kind or damaged; the message begins with `name`.
    """
    dataset = _parse(content, name, with_pixels=True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            levels = _import_pydicom(name).pixels.pixel_array(dataset, raw=False)
    except BROKEN as error:
        syntax = getattr(dataset.file_meta.get("TransferSyntaxUID", ""), "name", "unknown")
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: expected a whole DICOM image, got one in {syntax} ({reason})") from error
    return DicomImage(_to_eight_bits(levels, dataset), _acquisition(dataset))


def _import_pydicom(name: str) -> ModuleType:
    try:
        import pydicom
        import pydicom.pixels
    except ImportError as error:
        needs = f"DICOM needs `pip install pydicom=={PYDICOM_VERSION}`"
        raise ValueError(f"{name}: expected an image that can be read, got a DICOM file; {needs}") from error
    return pydicom


def _parse(content: bytes, name: str, *, with_pixels: bool) -> "Dataset":
    pydicom = _import_pydicom(name)
    tags = TAGS if with_pixels else [tag for tag in TAGS if tag != "PixelData"]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(io.BytesIO(content), specific_tags=list(tags), stop_before_pixels=not with_pixels)
            values = {tag: dataset.get(tag) for tag in TAGS if tag != "PixelData"}
            found = _kind_error(values, str(dataset.file_meta.get("MediaStorageSOPClassUID", "")))
    except BROKEN as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{name}: expected a whole DICOM file, got one that cannot be read ({reason})") from error
    if found:
        raise ValueError(
            f"{name}: expected a fundus image (DICOM modality OP) of one frame, got a DICOM file with {found}"
        )
    return dataset


def _kind_error(values: dict[str, object], storage: str) -> str:
    """Return of what other kind a DICOM file is; empty where it is of the right one."""
    if values["Modality"] != MODALITY:
        is_index = storage == "1.2.840.10008.1.3.10"
        return "an index of files (DICOMDIR)" if is_index else f"modality {values['Modality'] or 'none'!s:.16}"
    if int(str(values["NumberOfFrames"] or 1)) != 1:
        return f"{values['NumberOfFrames']} frames"
    if not values["Rows"] or not values["Columns"]:
        return "no image"
    if values["PhotometricInterpretation"] not in COLOURS:
        return f"photometric interpretation {values['PhotometricInterpretation']!s:.16}"
    signed = values["PixelRepresentation"]
    return "signed intensities" if signed else ""


def _to_eight_bits(levels: np.ndarray, dataset: "Dataset") -> np.ndarray:
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        levels = 2**bits - 1 - levels
    eight = (levels >> max(bits - 8, 0)).astype(np.uint8)
    return eight[..., None] if eight.ndim == 2 else eight


def _acquisition(dataset: "Dataset") -> Acquisition:
    laterality = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "")
    device = str(dataset.get("ManufacturerModelName") or "")[:MAX_DEVICE].strip()
    return Acquisition(
        _spacing(dataset.get("PixelSpacing")),
        laterality if laterality in LATERALITIES else "",
        device if device.isprintable() else "",
    )


def _spacing(values: object) -> str:
    try:
        rows, columns = (float(value) for value in values)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        return ""
    if not all(math.isfinite(value) and value > 0 for value in (rows, columns)):
        return ""
    return f"{rows:g}" if rows == columns else f"{rows:g}x{columns:g}"
