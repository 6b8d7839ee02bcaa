from pathlib import Path

import cv2
import numpy as np
import pytest

from src import datasets, download, likeness, phantom
from src.datasets import Subsets

HEIGHT, WIDTH = 240, 230
COUNT = 8  # phantoms


@pytest.fixture(scope="module")
def eyes() -> list[tuple[np.ndarray, np.ndarray]]:
    """Phantoms as pairs (image, FOV)."""
    drawn = (phantom.draw(1, number, HEIGHT, WIDTH) for number in range(COUNT))
    return [(eye.image, eye.fov) for eye in drawn]


def stacked(pictures) -> np.ndarray:
    """Signatures of photographs (image, FOV)."""
    return np.stack([likeness.signature(image, fov) for image, fov in pictures])


def highest_of_two_eyes(signatures: np.ndarray) -> float:
    return float(likeness.similarity(signatures, signatures)[~np.eye(len(signatures), dtype=bool)].max())


def turned(picture: np.ndarray, degrees: float) -> np.ndarray:
    side = 2 * HEIGHT
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), degrees, 1.3)
    matrix[:, 2] += (side / 2 - WIDTH / 2, side / 2 - HEIGHT / 2)
    return cv2.warpAffine(picture, matrix, (side, side))


def resized(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def jpeg(image: np.ndarray) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 60])[1], cv2.IMREAD_COLOR)


SHAPES = {  # a change of image and field of view alike
    "flip": lambda p: np.ascontiguousarray(p[:, ::-1]),
    "upside_down": lambda p: np.ascontiguousarray(p[::-1]),
    "quarter_turn": lambda p: np.ascontiguousarray(np.rot90(p)),
    "turn": lambda p: turned(p, 77.7),
    "flip_and_turn": lambda p: turned(np.ascontiguousarray(p[::-1]), -12.3),
    "smaller": lambda p: resized(p, 160, 153),
    "larger": lambda p: resized(p, 600, 575),
    "stretched": lambda p: resized(p, HEIGHT, HEIGHT + 40),
    "wide_border": lambda p: cv2.copyMakeBorder(p, 5, 90, 40, 0, cv2.BORDER_CONSTANT),
}
GREYS = {  # a change of the image alone
    "jpeg": jpeg,
    "darker": lambda image: (image * 0.6).astype(np.uint8),
    "gamma": lambda image: (255 * (image / 255) ** 0.7).astype(np.uint8),
    "brighter_to_one_side": lambda image: (image * np.linspace(0.6, 1, image.shape[1])[:, None]).astype(np.uint8),
}


@pytest.mark.parametrize("change", SHAPES.values(), ids=SHAPES)
def test_copy_of_another_shape_is_the_same_eye(eyes, change):
    changed = [(change(image), change(fov.astype(np.uint8)) > 0) for image, fov in eyes[:3]]
    values = likeness.similarity(stacked(eyes[:3]), stacked(changed))
    assert values.diagonal().min() > 0.8
    assert (values > likeness.SAME_EYE).sum() == 3


@pytest.mark.parametrize("change", GREYS.values(), ids=GREYS)
def test_copy_of_other_greys_is_the_same_eye(eyes, change):
    values = likeness.similarity(stacked(eyes[:3]), stacked((change(image), fov) for image, fov in eyes[:3]))
    assert values.diagonal().min() > 0.8


def test_cut_field_of_view_is_the_same_eye_when_turned(eyes):
    image, fov = eyes[0]
    fov = fov & (np.abs(np.arange(HEIGHT) - HEIGHT / 2) < 0.42 * HEIGHT)[:, None]
    cut = image * fov[..., None]
    values = likeness.similarity(
        stacked([(cut, fov)]), stacked([(turned(cut, 40), turned(fov.astype(np.uint8), 40) > 0)])
    )
    assert values.item() > 0.8


def test_phantoms_are_different_eyes(eyes):
    assert highest_of_two_eyes(stacked(eyes)) < likeness.SAME_EYE - 0.1


def test_similarity_is_one_with_itself_symmetric_and_the_same_in_blocks(eyes, monkeypatch):
    signatures = stacked(eyes)
    values = likeness.similarity(signatures, signatures)
    assert values.diagonal() == pytest.approx(1, abs=1e-5)
    assert values == pytest.approx(values.T, abs=1e-5)
    monkeypatch.setattr(likeness, "BLOCK", 3)
    assert likeness.similarity(signatures, signatures) == pytest.approx(values, abs=1e-5)


def test_similarity_is_the_highest_correlation_over_rotations_and_the_mirror_image():
    rng = np.random.default_rng(1)
    first, second = rng.standard_normal((2, likeness.ANGLES, likeness.RADII))
    expected = max(
        float((first * np.roll(other, shift, axis=0)).sum())
        for other in (second, second[::-1])
        for shift in range(likeness.ANGLES)
    )
    pair = [np.fft.rfft(polar, axis=0)[None].astype(np.complex64) for polar in (first, second)]
    assert likeness.similarity(*pair).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("field", ["disc", "whole", "line", "pixel", "far_apart"])
def test_photographs_without_contrast_are_like_nothing(field):
    fields = {name: np.zeros((90, 120), bool) for name in ("line", "pixel", "far_apart")}
    fields["whole"] = np.ones((90, 120), bool)
    fields["disc"] = np.hypot(*np.mgrid[-45:45, -60:60]) < 44
    fields["line"][40] = True
    fields["pixel"][3, 4] = True
    fields["far_apart"][[0, -1], [0, -1]] = True
    image = np.full((90, 120, 3), 120, np.uint8)
    signatures = stacked([(image, fields[field])] * 2)
    assert likeness.similarity(signatures, signatures).max() < 0.01


@pytest.fixture(scope="module")
def real(archives):
    """A function: groups and signatures of all photographs of a public data set."""
    signed = {}

    def sign(name: str) -> tuple[np.ndarray, np.ndarray]:
        if name not in signed:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(download.VARIABLE, str(archives))
                split = next(iter(datasets.PUBLIC[name].splits))
                entries = [
                    entry for part in download.public(name, split, Subsets(True, True), Path()) for entry in part
                ]
            eyes = [entry.load() for entry in entries]
            signed[name] = (
                np.array([entry.id if name == "chase_db1" else entry.group for entry in entries]),
                stacked((eye.image, eye.fov) for eye in eyes),
            )
        return signed[name]

    return sign


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("first", "second"),
    [("drive", "drive"), ("chase_db1", "chase_db1"), ("rbv", "rbv"), ("drive", "rbv"), ("drive", "chase_db1")],
)
def test_real_photographs_are_found_to_be_the_same_exactly_where_they_are(real, first, second):
    (eyes, signatures), (others, other_signatures) = real(first), real(second)
    values = likeness.similarity(signatures, other_signatures)
    same = eyes[:, None] == others
    assert ((values > likeness.SAME_EYE) == same).all()
    assert values[~same].max() < 0.4
    assert values[same].min(initial=1) > 0.9
