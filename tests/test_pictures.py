import numpy as np
import pytest

from src import pictures, samples

TRUTH, PREDICTED = np.array([[1, 1, 0, 0, 1]], bool), np.array([[1, 0, 1, 0, 1]], bool)
FOV = np.array([[1, 1, 1, 1, 0]], bool)


def example(level=255):
    """A hit, a miss, a false alarm, nothing, and a pixel outside the field of view, on a grey photograph."""
    return pictures.Example(np.full((1, 5, 3), level, np.uint8), TRUTH, PREDICTED * 1.0, PREDICTED, FOV)


def colours(picture):
    return ["#%02X%02X%02X" % tuple(pixel[:3]) for pixel in picture[0]]  # noqa: UP031


def test_overlay_gives_each_outcome_its_colour():
    assert colours(pictures.overlay(example())) == [*pictures.OUTCOMES.values(), "#FFFFFF", pictures.OUTSIDE]


def test_overlay_is_the_photograph_in_pale_between_the_vessels():
    level = round(255 - pictures.PALE * (255 - 55))
    assert pictures.overlay(example(55))[0, 3].tolist() == [level] * 3


def test_outcomes_are_transparent_between_the_vessels_alone():
    drawn = pictures.outcomes(example())
    assert drawn[0, :, 3].tolist() == [255, 255, 255, 0, 255]
    assert colours(drawn[:, [0, 1, 2, 4]]) == [*pictures.OUTCOMES.values(), pictures.OUTSIDE]


def test_picture_is_vessel_above_the_threshold_and_not_at_it():
    levels = np.array([[0, 32767, 32768, 65535]], np.uint16)
    fov = np.ones((1, 4), bool)
    picture = pictures.picture(np.zeros((1, 4, 3), np.uint8), fov, fov, levels, 32767 / 65535)
    assert picture.predicted.tolist() == [[False, False, True, True]]
    assert picture.probability[0, [0, 3]].tolist() == [0.0, 1.0]


def test_read_brings_sample_and_prediction_together(tmp_path):
    image = np.full((4, 5, 3), 90, np.uint8)
    truth, fov = np.eye(4, 5, dtype=bool), np.ones((4, 5), bool)
    samples.write_eye(tmp_path, "drive", samples.Eye("01", "a", image, truth, fov, None))
    samples.write_probability(tmp_path / "maps" / "drive" / "01.png", truth * 0.9)
    read = pictures.read(samples.Sample("drive", "01", "a", tmp_path / "drive"), tmp_path / "maps", 0.5)
    assert read.predicted.tolist() == read.truth.tolist() == truth.tolist()
    assert read.probability.max() == pytest.approx(0.9, abs=1e-4)
    assert read.image.tolist() == image.tolist()
