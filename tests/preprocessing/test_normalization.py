import numpy as np
import pytest

from src.preprocessing import normalization
from src.preprocessing.patches import NEUTRAL


def noisy_image(height=120, width=100, seed=0):
    """A noisy image with a dark border, and its round FOV of diameter 81."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    fov = (y - 60) ** 2 + (x - 50) ** 2 <= 40**2
    image = rng.integers(40, 90, (height, width, 3)).astype(np.uint8) + np.uint8([60, 20, 0])
    image[~fov] = 3
    return image, fov


def test_fov_has_the_standard_mean_and_deviation_and_all_else_is_neutral():
    image, fov = normalization.prepare(*noisy_image(), fov_diameter=81, clahe_clip_limit=0)
    assert image[fov].mean(axis=0) == pytest.approx([NEUTRAL] * 3, abs=0.6)
    assert image[fov].std(axis=0) == pytest.approx([normalization.DEVIATION] * 3, abs=1.0)
    assert (image[~fov] == NEUTRAL).all()


@pytest.mark.parametrize("diameter", [40, 81, 150])
def test_fov_has_the_given_diameter(diameter):
    _, fov = normalization.prepare(*noisy_image(), fov_diameter=diameter, clahe_clip_limit=0)
    height, width = (np.ptp(np.flatnonzero(fov.any(axis=axis))) + 1 for axis in (1, 0))
    assert max(height, width) == pytest.approx(diameter, abs=2)


def test_a_cut_circle_is_scaled_by_its_larger_side():
    fov = noisy_image()[1]
    fov[:40] = fov[80:] = False
    assert normalization.scaled_shape(fov, 162) == (240, 200)


def test_pixels_stay_square():
    fov = np.ones((50, 100), bool)
    assert normalization.scaled_shape(fov, 200) == (100, 200)


def test_a_scale_near_one_does_not_resample():
    image, fov = noisy_image()
    prepared = normalization.prepare(image, fov, fov_diameter=80, clahe_clip_limit=0)
    assert np.array_equal(prepared.fov, fov)
    assert np.array_equal(prepared.image, normalization.standardize(image, fov))


def test_a_channel_without_contrast_is_neutral():
    image, fov = noisy_image()
    image[..., 2] = 7
    assert (normalization.prepare(image, fov, 81, 0).image[..., 2] == NEUTRAL).all()


def test_one_pixel_of_fov_is_neutral():
    fov = np.zeros((120, 100), bool)
    fov[60, 50] = True
    assert (normalization.prepare(noisy_image()[0], fov, 1, 0).image == NEUTRAL).all()


def test_brightness_and_contrast_of_the_camera_are_normalised():
    image, fov = noisy_image()
    dark = image // 2
    difference = (
        normalization.prepare(image, fov, 81, 0).image.astype(int) - normalization.prepare(dark, fov, 81, 0).image
    )
    assert np.abs(difference).max() <= 4


def test_clahe_raises_local_contrast_and_keeps_the_outside_neutral():
    image, fov = noisy_image()
    plain, equalised = (normalization.prepare(image, fov, 81, clahe_clip_limit) for clahe_clip_limit in (0.0, 3.0))
    assert not np.array_equal(plain.image, equalised.image)
    assert (equalised.image[~fov] == NEUTRAL).all()


def test_repeated_preparation_gives_the_same_bytes():
    first, second = (normalization.prepare(*noisy_image(), 50, 2.0) for _ in range(2))
    assert first.image.tobytes() == second.image.tobytes()


@pytest.mark.parametrize("shape", [(60, 50), (240, 201)])
def test_truth_keeps_its_fraction_when_resized(shape):
    truth = np.zeros((120, 100), bool)
    truth[:, 20:28] = True
    resized = normalization.resize_bool(truth, shape)
    assert resized.shape == shape
    assert resized.mean() == pytest.approx(8 / 100, abs=0.01)


def test_resize_bool_is_true_where_half_of_the_pixel_is():
    truth = np.array([[1, 1, 0, 0], [0, 0, 0, 1]], bool)
    assert normalization.resize_bool(truth, (1, 2)).tolist() == [[True, False]]


@pytest.mark.parametrize("shape", [(120, 100), (61, 47), (121, 99), (500, 333)])
def test_map_is_resized_to_the_native_shape(shape):
    probability = np.random.default_rng(0).random((120, 100), np.float32)
    native = normalization.to_native(probability, shape)
    assert native.shape == shape
    assert native.dtype == np.float32
    assert 0 <= native.min() <= native.max() <= 1


def test_resizing_there_and_back_keeps_the_position():
    y, x = np.mgrid[:120, :100].astype(np.float32)
    blob = np.exp(-((y - 70) ** 2 + (x - 30) ** 2) / 200)
    small = normalization.to_native(blob, (83, 69))
    assert np.abs(normalization.to_native(small, (120, 100)) - blob).max() < 0.02


def test_empty_fov_is_rejected():
    with pytest.raises(ValueError, match="fov: expected at least one pixel, found none in 100x120"):
        normalization.prepare(noisy_image()[0], np.zeros((120, 100), bool), 81, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image, fov: (image / 255, fov), "image: expected .* uint8"),
        (lambda image, fov: (image[..., 0], fov), "image: expected"),
        (lambda image, fov: (image, fov.T), "fov: expected 100x120 like the image, got 120x100"),
        (lambda image, fov: (image, fov.astype(np.uint8)), "fov: expected bool, got uint8"),
    ],
)
def test_other_shapes_and_types_are_rejected(change, message):
    with pytest.raises(ValueError, match=message):
        normalization.prepare(*change(*noisy_image()), 81, 0)
