"""Synthetic images: reproducible, plausible, and consistent with their ground truth."""

import hashlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import cv2
import numpy as np
import pytest

from src.synthetic import background, generator

ROOT = Path(__file__).resolve().parents[2]
SEED = 1


def digest(synthetic: generator.SyntheticImage) -> str:
    """SHA-256 of all three arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in synthetic)).hexdigest()


@pytest.fixture(scope="module", autouse=True)
def generated_once() -> None:
    """Each image is generated anew here."""


@pytest.fixture(scope="module")
def images() -> list[generator.SyntheticImage]:
    """Five images of DRIVE's size."""
    return [generator.generate(SEED, index, 584, 565) for index in range(5)]


@pytest.mark.slow
def test_another_process_generates_the_same_bytes(images):
    code = (
        "import cv2; cv2.setNumThreads(1)\nfrom src.synthetic import generator\nimport hashlib\n"
        f"synthetic = generator.generate({SEED}, 3, 584, 565)\n"
        "print(hashlib.sha256(b''.join(array.tobytes() for array in synthetic)).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(images[3])


def test_order_of_generation_does_not_matter(images):
    generator.generate(7, 7, 200, 200)
    assert digest(generator.generate(SEED, 0, 584, 565)) == digest(images[0])


def test_every_index_and_seed_generates_another_image(images):
    other_seed = generator.generate(SEED + 1, 0, 584, 565)
    assert len({digest(one) for one in [*images, other_seed]}) == len(images) + 1


def test_vessel_fraction_is_plausible(images):
    fractions = [one.truth.mean() for one in images]
    assert min(fractions) > 0.05
    assert max(fractions) < 0.12
    assert 0.07 < np.mean(fractions) < 0.09


def test_fov_fraction_is_plausible(images):
    fractions = [one.fov.mean() for one in images]
    assert min(fractions) > 0.60
    assert max(fractions) < 0.70


def test_truth_lies_inside_the_fov(images):
    assert not any((one.truth & ~one.fov).any() for one in images)


def test_image_is_black_outside_the_fov(images):
    assert not any(one.image[~one.fov].any() for one in images)


def test_colours_are_those_of_a_fundus(images):
    for one in images:
        red, green, blue = one.image[one.fov].mean(axis=0)
        assert red > green > blue


def generate_with(module: ModuleType, changes: dict[str, object]) -> generator.SyntheticImage:
    """Generate a small image with other constants."""
    with mock.patch.multiple(module, **changes):
        return generator.generate(SEED, 0, 292, 283)


def test_choroidal_vessels_are_visible_and_not_labelled():
    visible, hidden = (
        generate_with(background, {"TESSELLATED_FRACTION": 1.0, "CHOROIDAL_NET": (net, net)}) for net in (0.05, 0.0)
    )
    assert (visible.truth == hidden.truth).all()
    assert np.abs(visible.image.astype(int) - hidden.image)[visible.fov].mean() > 0.5


def test_rim_is_dark_where_the_illuminated_disc_is_shifted():
    shifted, centred = (generate_with(generator, {"APERTURE_SHIFT": (shift, shift)}) for shift in (0.1, 0.0))
    dark = [np.mean(one.image[one.fov].max(axis=1) < 10) for one in (shifted, centred)]
    assert dark[0] > 0.02 > dark[1]


def contrast(one: generator.SyntheticImage, channel: int, truth: np.ndarray) -> float:
    """Relative contrast of vessels to the background within a few pixels of them."""
    touching = cv2.dilate(one.truth.astype(np.uint8), np.ones((5, 5))).astype(bool)
    background_pixels = (~touching & one.fov).astype(np.float32)
    values = one.image[..., channel].astype(np.float32)
    weight = cv2.GaussianBlur(background_pixels, (0, 0), 8) + 1e-3
    around = cv2.GaussianBlur(values * background_pixels, (0, 0), 8) / weight
    return float(1 - np.median(values[truth] / np.maximum(around[truth], 1)))


def test_vessels_are_darker_than_their_surroundings(images):
    for one in images:
        assert contrast(one, 1, one.truth) > 0.05


def test_green_shows_vessels_better_than_red(images):
    for one in images:
        assert contrast(one, 1, one.truth) > contrast(one, 0, one.truth)


def test_wide_vessels_are_darker_than_thin_ones(images):
    for one in images:
        wide = cv2.erode(one.truth.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert contrast(one, 1, wide) > contrast(one, 1, one.truth)


def test_truth_has_thin_and_wide_vessels(images):
    for one in images:
        inside = cv2.distanceTransform(one.truth.astype(np.uint8), cv2.DIST_L2, 5)
        assert 2.5 < inside.max() < 12
        opened = cv2.morphologyEx(one.truth.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
        assert 0.02 < 1 - opened.sum() / one.truth.sum() < 0.6


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (97, 131), (96, 96), (150, 600)])
def test_any_size_can_be_generated(size):
    one = generator.generate(SEED, 0, *size)
    assert (one.image.shape, one.image.dtype) == ((*size, 3), np.uint8)
    assert (one.truth.shape, one.truth.dtype) == (size, bool)
    assert (one.fov.shape, one.fov.dtype) == (size, bool)
    assert one.truth.any()


def test_larger_image_shows_the_same_eye(images):
    large = generator.generate(SEED, 2, 1168, 1130).truth
    small = cv2.resize(large.astype(np.float32), (565, 584), interpolation=cv2.INTER_AREA) > 0.5
    both = (small & images[2].truth).sum()
    assert 2 * both / (small.sum() + images[2].truth.sum()) > 0.9


@pytest.mark.parametrize("size", [(95, 400), (400, 95), (0, 0), (-5, 300)])
def test_too_small_a_size_is_rejected(size):
    with pytest.raises(ValueError, match=rf"at least 96 pixels a side, got {size[1]}x{size[0]}"):
        generator.generate(SEED, 0, *size)
