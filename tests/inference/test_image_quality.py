import functools
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.data import fov_detection
from src.inference import image_quality
from src.synthetic import generator

NUMBERS = range(3)  # of the synthetic images


@functools.cache
def synthetic(number: int) -> generator.SyntheticImage:
    return generator.generate(1, number, 584, 565)


def blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 3)


def underexposed(image: np.ndarray) -> np.ndarray:
    return image // 4


def grey(image: np.ndarray) -> np.ndarray:
    return image[..., 1:2].repeat(3, axis=2)


def without_contrast(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 4, image.shape)
    return np.clip(np.array([150, 80, 40]) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("number", NUMBERS)
def test_synthetic_image_has_no_flag(number):
    sample = synthetic(number)
    assert image_quality.quality_flags(sample.image, sample.fov, 0.1) == []


@pytest.mark.parametrize(
    ("degrade", "expected"),
    [
        (blurred, ["blurred"]),
        (underexposed, ["underexposed"]),
        (grey, ["out_of_distribution"]),
        (without_contrast, ["out_of_distribution"]),
    ],
)
@pytest.mark.parametrize("number", NUMBERS)
def test_degraded_image_is_flagged(number, degrade, expected):
    sample = synthetic(number)
    assert image_quality.quality_flags(degrade(sample.image), sample.fov, 0.1) == expected


@pytest.mark.parametrize("factor", [0.6, 2])
def test_sharpness_hardly_depends_on_the_image_size(factor):
    sample = synthetic(0)
    size = {"dsize": None, "fx": factor, "fy": factor}
    image = cv2.resize(sample.image, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC, **size)
    fov = cv2.resize(sample.fov.astype(np.uint8), interpolation=cv2.INTER_NEAREST, **size) > 0
    assert image_quality.sharpness(image, fov) > 1.5 * image_quality.MIN_SHARPNESS


def test_image_without_dark_border_is_flagged():
    centre = synthetic(0).image[180:400, 180:400]
    fov = fov_detection.detect(centre)
    assert fov.all()
    assert "fov_not_found" in image_quality.quality_flags(centre, fov, 0.1)


@pytest.mark.parametrize(
    ("density", "expected"), [(0.0, ["implausible_map"]), (0.029, ["implausible_map"]), (0.031, [])]
)
def test_nearly_empty_map_is_flagged(density, expected):
    assert image_quality.quality_flags(synthetic(0).image, synthetic(0).fov, density) == expected


def test_every_flag_has_the_meaning_that_the_docs_give_it():
    table = Path("docs/tutorials/predict-your-images.md").read_text(encoding="utf-8").partition("| flag |")[2]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table.partition("\n\n")[0], re.M))
    assert rows == image_quality.FLAGS
    files = Path("docs/reference/files.md").read_text(encoding="utf-8").partition("| `quality` | flags: ")[2]
    assert re.findall(r"`(\w+)`", files.partition(";")[0]) == list(image_quality.FLAGS)


def test_every_flag_has_a_remedy_in_the_docs():
    page = Path("docs/how-to/troubleshoot.md").read_text(encoding="utf-8")
    section = page.partition("| flag | what to do |\n| --- | --- |\n")[2]
    assert re.findall(r"^\| `(\w+)` \|", section.partition("\n\n")[0], re.M) == list(image_quality.FLAGS)
