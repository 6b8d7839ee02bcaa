import builtins
import io

import numpy as np
import pytest
from PIL import Image

from src.data import dicom, image_decoding, image_opening

pydicom = pytest.importorskip("pydicom")
from pydicom.dataset import Dataset, FileMetaDataset  # noqa: E402 - after importorskip
from pydicom.encaps import encapsulate  # noqa: E402
from pydicom.uid import (  # noqa: E402
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    RLELossless,
    generate_uid,
)

OPHTHALMIC_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
IMAGE = np.random.default_rng(1).integers(0, 256, (24, 32, 3)).astype(np.uint8)
SMOOTH = np.stack(np.broadcast_arrays(*np.mgrid[50:74, 90:122], 30), axis=2).astype(np.uint8)
SECRETS = {"PatientName": "Doe^Jane", "PatientID": "4711", "PatientBirthDate": "19500102", "StudyDate": "20200304"}


def dataset(channels: np.ndarray, photometric: str, **tags: object) -> Dataset:
    """A fundus image, (H, W) or (H, W, 3), of 8 or 16 bits."""
    file = Dataset()
    file.file_meta = FileMetaDataset()
    file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID = OPHTHALMIC_8_BIT
    file.file_meta.MediaStorageSOPInstanceUID = file.SOPInstanceUID = generate_uid()
    file.Modality = "OP"
    file.Rows, file.Columns = channels.shape[:2]
    file.SamplesPerPixel = 1 if channels.ndim == 2 else 3
    if channels.ndim == 3:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = photometric
    file.BitsAllocated = file.BitsStored = 8 * channels.dtype.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = 0
    file.PixelData = channels.tobytes()
    for tag, value in {**SECRETS, **tags}.items():
        setattr(file, tag, value)
    return file


def saved(file: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    file.file_meta.TransferSyntaxUID = syntax
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def encoded(file: Dataset, kind: str, picture: np.ndarray, syntax: str, **options: object) -> bytes:
    """Store a picture encoded by Pillow."""
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind, **options)
    file.PixelData = encapsulate([stream.getvalue()])
    file["PixelData"].is_undefined_length = True
    return saved(file, syntax)


def ybr(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).convert("YCbCr"))


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("planar", [0, 1])
def test_uncompressed_rgb_is_read_exactly(syntax, planar):
    file = dataset(IMAGE, "RGB", PlanarConfiguration=planar)
    if planar:
        file.PixelData = np.moveaxis(IMAGE, 2, 0).tobytes()
    assert np.array_equal(image_decoding.decode(saved(file, syntax), "a").image, IMAGE)


def test_big_endian_is_read_exactly():
    deep = IMAGE[..., 0].astype(np.uint16) * 257
    file = dataset(deep, "MONOCHROME2")
    file.PixelData = deep.astype(">u2").tobytes()
    content = saved(file, ExplicitVRBigEndian)
    assert np.array_equal(image_decoding.decode(content, "a").image[..., 0], IMAGE[..., 0])


def test_rle_is_read_exactly():
    file = dataset(IMAGE, "RGB")
    file.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file.compress(RLELossless)
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    assert np.array_equal(image_decoding.decode(stream.getvalue(), "a").image, IMAGE)


def test_ybr_full_is_converted():
    content = saved(dataset(ybr(SMOOTH), "YBR_FULL"))
    assert np.abs(image_decoding.decode(content, "a").image.astype(int) - SMOOTH).max() <= 3


@pytest.mark.parametrize("photometric", ["YBR_FULL_422", "YBR_FULL"])
def test_jpeg_is_read_as_pillow_reads_it(photometric):
    subsampling = 1 if photometric == "YBR_FULL_422" else 0
    options = {"quality": 95, "subsampling": subsampling}
    content = encoded(dataset(SMOOTH, photometric), "JPEG", SMOOTH, JPEGBaseline8Bit, **options)
    assert np.abs(image_decoding.decode(content, "a").image.astype(int) - SMOOTH).max() <= 6


def test_lossless_jpeg_2000_is_read_exactly():
    content = encoded(dataset(IMAGE, "YBR_RCT"), "JPEG2000", IMAGE, JPEG2000Lossless, irreversible=False, no_jp2=True)
    assert np.array_equal(image_decoding.decode(content, "a").image, IMAGE)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.uint16, 10), (np.uint16, 12), (np.uint16, 16)])
def test_grey_of_any_depth_is_read_exactly(photometric, dtype, bits):
    grey = IMAGE[..., 0]
    levels = grey.astype(dtype) << (bits - 8)
    stored = 2**bits - 1 - levels if photometric == "MONOCHROME1" else levels
    content = saved(dataset(stored.astype(dtype), photometric, BitsStored=bits, HighBit=bits - 1))
    assert np.array_equal(image_decoding.decode(content, "a").image[..., 0], grey)


def test_camera_and_scale_are_read_and_nothing_of_the_patient():
    tags = {"PixelSpacing": [0.006, 0.006], "ImageLaterality": "L", "ManufacturerModelName": "TRC-NW8"}
    decoded = image_decoding.decode(saved(dataset(IMAGE, "RGB", **tags)), "a")
    assert decoded.acquisition == ("0.006", "L", "TRC-NW8")
    assert not any(secret in str(decoded) for secret in SECRETS.values())


def test_acquisition_is_empty_where_it_is_unknown():
    assert image_decoding.decode(saved(dataset(IMAGE, "RGB")), "a").acquisition == ("", "", "")


def test_spacing_of_other_rows_than_columns_names_both():
    content = saved(dataset(IMAGE, "RGB", PixelSpacing=[0.006, 0.007]))
    assert image_decoding.decode(content, "a").acquisition.pixel_spacing_mm == "0.006x0.007"


@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Modality": "OPT"}, "modality OPT"),
        ({"Modality": "CT"}, "modality CT"),
        ({"Modality": ""}, "modality none"),
        ({"NumberOfFrames": 5}, "5 frames"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation PALETTE COLOR"),
        ({"PixelRepresentation": 1}, "signed intensities"),
        ({"Rows": 0}, "no image"),
    ],
)
def test_other_kinds_are_rejected_by_name(tags, kind):
    with pytest.raises(ValueError, match=f"^a: expected a fundus image .* of one frame, got a DICOM file with {kind}$"):
        image_decoding.decode(saved(dataset(IMAGE, "RGB", **tags)), "a")


def test_size_is_checked_before_decoding():
    content = saved(dataset(IMAGE, "RGB", Rows=9000, Columns=9000))
    for read in (image_decoding.decode, image_opening.pixel_count):
        with pytest.raises(ValueError, match=r"^a: expected at most 50000000 pixels, got 9000x9000"):
            read(content, "a")
    assert image_opening.pixel_count(saved(dataset(IMAGE, "RGB")), "a") == 24 * 32


def test_file_that_is_cut_off_is_rejected():
    content = saved(dataset(IMAGE, "RGB"))
    for size in range(132, len(content), len(content) // 9):
        with pytest.raises(ValueError, match=r"^a: expected"):
            image_decoding.decode(content[:size], "a")


def test_without_pydicom_the_message_says_what_to_install(monkeypatch):
    content, imported = saved(dataset(IMAGE, "RGB")), builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("pydicom"):
            raise ModuleNotFoundError(name)
        return imported(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match=f"^a: .*DICOM needs `pip install pydicom=={dicom.PYDICOM_VERSION}`"):
        image_decoding.decode(content, "a")


def test_installed_version_is_the_one_that_the_message_names():
    assert pydicom.__version__ == dicom.PYDICOM_VERSION
