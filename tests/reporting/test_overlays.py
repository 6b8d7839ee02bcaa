import numpy as np
import pytest

from src.data import samples
from src.reporting import overlays

TRUTH, PREDICTED = np.array([[1, 1, 0, 0, 1]], bool), np.array([[1, 0, 1, 0, 1]], bool)
FOV = np.array([[1, 1, 1, 1, 0]], bool)


def predicted_image(level=255):
    """A true positive, a false negative, a false positive, nothing, and a pixel outside the FOV, on a grey image."""
    return overlays.PredictedImage(np.full((1, 5, 3), level, np.uint8), TRUTH, PREDICTED * 1.0, PREDICTED, FOV)


def colours(picture):
    return ["#%02X%02X%02X" % tuple(pixel[:3]) for pixel in picture[0]]  # noqa: UP031


def test_overlay_gives_each_outcome_its_colour():
    assert colours(overlays.overlay(predicted_image())) == [
        *overlays.OUTCOME_COLOURS.values(),
        "#FFFFFF",
        overlays.OUTSIDE_FOV_COLOUR,
    ]


def test_overlay_is_the_image_in_pale_grey_between_the_vessels():
    level = round(255 - overlays.BACKGROUND_CONTRAST * (255 - 55))
    assert overlays.overlay(predicted_image(55))[0, 3].tolist() == [level] * 3


def test_outcome_layer_is_transparent_between_the_vessels_alone():
    layer = overlays.outcome_layer(predicted_image())
    assert layer[0, :, 3].tolist() == [255, 255, 255, 0, 255]
    assert colours(layer[:, [0, 1, 2, 4]]) == [*overlays.OUTCOME_COLOURS.values(), overlays.OUTSIDE_FOV_COLOUR]


def test_prediction_is_vessel_above_the_threshold_and_not_at_it():
    levels = np.array([[0, 32767, 32768, 65535]], np.uint16)
    fov = np.ones((1, 4), bool)
    example = overlays.from_levels(np.zeros((1, 4, 3), np.uint8), fov, fov, levels, 32767 / 65535)
    assert example.predicted.tolist() == [[False, False, True, True]]
    assert example.probability[0, [0, 3]].tolist() == [0.0, 1.0]


def test_read_brings_sample_and_prediction_together(tmp_path):
    image = np.full((4, 5, 3), 90, np.uint8)
    truth, fov = np.eye(4, 5, dtype=bool), np.ones((4, 5), bool)
    samples.write_labelled_image(tmp_path, "drive", samples.LabelledImage("01", "a", image, truth, fov, None))
    samples.write_probability(tmp_path / "maps" / "drive" / "01.png", truth * 0.9)
    read = overlays.read(samples.Sample("drive", "01", "a", tmp_path / "drive"), tmp_path / "maps", 0.5)
    assert read.predicted.tolist() == read.truth.tolist() == truth.tolist()
    assert read.probability.max() == pytest.approx(0.9, abs=1e-4)
    assert read.image.tolist() == image.tolist()
