from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data import datasets, duplicate_detection, entries, locate_files
from src.data.splits import Uses
from src.synthetic import generator

HEIGHT, WIDTH = 240, 230
COUNT = 8  # synthetic images


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, np.ndarray]]:
    """Synthetic images as pairs (image, FOV)."""
    synthetic = (generator.generate(1, number, HEIGHT, WIDTH) for number in range(COUNT))
    return [(one.image, one.fov) for one in synthetic]


def stacked(images) -> np.ndarray:
    """Signatures of pairs (image, FOV)."""
    return np.stack([duplicate_detection.signature(image, fov) for image, fov in images])


def highest_of_two_images(signatures: np.ndarray) -> float:
    return float(duplicate_detection.similarity(signatures, signatures)[~np.eye(len(signatures), dtype=bool)].max())


def rotated(array: np.ndarray, degrees: float) -> np.ndarray:
    side = 2 * HEIGHT
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.3)
    matrix[:, 2] += (side / 2 - WIDTH / 2, side / 2 - HEIGHT / 2)
    return cv2.warpAffine(array, matrix, (side, side))


def resized(array: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA)


def jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


GEOMETRIES = {  # changes of image and field of view alike
    "flip": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "upside_down": lambda p: np.ascontiguousarray(p[::-1]),
    "rotation_90": lambda p: np.ascontiguousarray(np.rot90(p)),
    "rotation": lambda p: rotated(p, 77.7),
    "flip_and_rotation": lambda p: rotated(np.ascontiguousarray(p[::-1]), -12.3),
    "smaller": lambda p: resized(p, 160, 153),
    "larger": lambda p: resized(p, 600, 575),
    "stretched": lambda p: resized(p, HEIGHT, HEIGHT + 40),
    "wide_border": lambda p: cv2.copyMakeBorder(p, 5, 90, 40, 0, cv2.BORDER_CONSTANT),
}
INTENSITIES = {  # changes of the image alone
    "jpeg": jpeg,
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "brighter_to_one_side": lambda image: (image * np.linspace(0.6, 1, image.shape[1])[:, None]).astype(np.uint8),
}


@pytest.mark.parametrize("change", GEOMETRIES.values(), ids=GEOMETRIES)
def test_geometrically_changed_copy_is_detected(images, change):
    changed = [(change(image), change(fov.astype(np.uint8)) > 0) for image, fov in images[:3]]
    values = duplicate_detection.similarity(stacked(images[:3]), stacked(changed))
    assert values.diagonal().min() > 0.8
    assert (values > duplicate_detection.COPY_SIMILARITY).sum() == 3


@pytest.mark.parametrize("change", INTENSITIES.values(), ids=INTENSITIES)
def test_copy_of_other_intensities_is_detected(images, change):
    values = duplicate_detection.similarity(
        stacked(images[:3]), stacked((change(image), fov) for image, fov in images[:3])
    )
    assert values.diagonal().min() > 0.8


def test_rotated_copy_with_a_cut_field_of_view_is_detected(images):
    image, fov = images[0]
    fov = fov & (np.abs(np.arange(HEIGHT) - HEIGHT / 2) < 0.42 * HEIGHT)[:, None]
    cut = image * fov[..., None]
    values = duplicate_detection.similarity(
        stacked([(cut, fov)]), stacked([(rotated(cut, 40), rotated(fov.astype(np.uint8), 40) > 0)])
    )
    assert values.item() > 0.8


def test_different_synthetic_images_are_dissimilar(images):
    assert highest_of_two_images(stacked(images)) < duplicate_detection.COPY_SIMILARITY - 0.1


def test_similarity_is_one_with_itself_symmetric_and_the_same_in_blocks(images, monkeypatch):
    signatures = stacked(images)
    values = duplicate_detection.similarity(signatures, signatures)
    assert values.diagonal() == pytest.approx(1, abs=1e-5)
    assert values == pytest.approx(values.T, abs=1e-5)
    monkeypatch.setattr(duplicate_detection, "BLOCK", 3)
    assert duplicate_detection.similarity(signatures, signatures) == pytest.approx(values, abs=1e-5)


def test_similarity_is_the_highest_correlation_over_rotations_and_the_mirror_image():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, duplicate_detection.ANGLES, duplicate_detection.RADII))
    expected = max(
        float((first * np.roll(other, shift, axis=0)).sum())
        for other in (second, second[::-1])
        for shift in range(duplicate_detection.ANGLES)
    )
    pair = [np.fft.rfft(polar, axis=0)[None].astype(np.complex64) for polar in (first, second)]
    assert duplicate_detection.similarity(*pair).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("field", ["disc", "whole", "line", "pixel", "far_apart"])
def test_images_without_contrast_are_similar_to_nothing(field):
    fields = {name: np.zeros((90, 120), bool) for name in ("line", "pixel", "far_apart")}
    fields["whole"] = np.ones((90, 120), bool)
    fields["disc"] = np.hypot(*np.mgrid[-45:45, -60:60]) < 44
    fields["line"][40] = True
    fields["pixel"][3, 4] = True
    fields["far_apart"][[0, -1], [0, -1]] = True
    image = np.full((90, 120, 3), 120, np.uint8)
    signatures = stacked([(image, fields[field])] * 2)
    assert duplicate_detection.similarity(signatures, signatures).max() < 0.01


@pytest.fixture(scope="module")
def real(real_archives):
    """A function: groups and signatures of all images of a public data set."""
    signed = {}

    def sign(name: str) -> tuple[np.ndarray, np.ndarray]:
        if name not in signed:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(locate_files.VARIABLE, str(real_archives))
                split = next(iter(datasets.PUBLIC[name].splits))
                train, test = entries.public_entries(name, split, Uses(True, True), Path())
            loaded = [entry.load() for entry in (*train, *test)]
            signed[name] = (
                np.array([one.id if name == "chase_db1" else one.group for one in loaded]),
                stacked((one.image, one.fov) for one in loaded),
            )
        return signed[name]

    return sign


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("first", "second"),
    [("drive", "drive"), ("chase_db1", "chase_db1"), ("rbv", "rbv"), ("drive", "rbv"), ("drive", "chase_db1")],
)
def test_copies_in_real_data_sets_are_detected_and_nothing_else(real, first, second):
    (groups, signatures), (others, other_signatures) = real(first), real(second)
    values = duplicate_detection.similarity(signatures, other_signatures)
    same = groups[:, None] == others
    assert ((values > duplicate_detection.COPY_SIMILARITY) == same).all()
    assert values[~same].max() < 0.4
    assert values[same].min(initial=1) > 0.9
