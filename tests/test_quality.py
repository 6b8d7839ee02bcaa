import cv2
import numpy as np
import pytest

from src import fov, phantom, quality

EYES = [phantom.draw(1, number, 584, 565) for number in range(3)]


def blurred(image: np.ndarray) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), 3)


def dark(image: np.ndarray) -> np.ndarray:
    return image // 4


def grey(image: np.ndarray) -> np.ndarray:
    return image[..., 1:2].repeat(3, axis=2)


def flat(image: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).normal(0, 4, image.shape)
    return np.clip(np.array([150, 80, 40]) + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("eye", EYES)
def test_nothing_is_said_against_a_drawn_eye(eye):
    assert quality.flags(eye.image, eye.fov) == []


@pytest.mark.parametrize(
    ("change", "said"), [(blurred, ["blurred"]), (dark, ["dark"]), (grey, ["unlike"]), (flat, ["unlike"])]
)
@pytest.mark.parametrize("eye", EYES)
def test_a_changed_photograph_is_flagged(eye, change, said):
    assert quality.flags(change(eye.image), eye.fov) == said


@pytest.mark.parametrize("factor", [0.6, 2])
def test_sharpness_is_much_the_same_at_another_size(factor):
    eye = EYES[0]
    size = {"dsize": None, "fx": factor, "fy": factor}
    image = cv2.resize(eye.image, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC, **size)
    field = cv2.resize(eye.fov.astype(np.uint8), interpolation=cv2.INTER_NEAREST, **size) > 0
    assert quality.sharpness(image, field) > 1.5 * quality.LEAST_SHARPNESS


def test_a_photograph_without_border_is_flagged():
    middle = EYES[0].image[180:400, 180:400]
    field = fov.find(middle)
    assert field.all()
    assert "no_fov" in quality.flags(middle, field)
