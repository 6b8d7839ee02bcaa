import numpy as np
import pytest

from experiments import boundary_error_analysis
from experiments.boundary_error_analysis import BoundaryErrors
from src.metrics import confusion_matrix

FOV = np.ones((32, 32), bool)


@pytest.fixture
def vessel() -> np.ndarray:
    annotated = np.zeros((32, 32), bool)
    annotated[10:14, :] = True
    return annotated


def test_errors_that_touch_a_vessel_are_told_from_those_that_do_not(vessel):
    predicted = vessel.copy()
    predicted[13] = False  # 32 false negatives that touch
    predicted[9, :8] = True  # 8 false positives that touch
    predicted[25, :4] = True  # 4 false positives elsewhere
    expected = BoundaryErrors(confusion_matrix.Counts(96, 12, 32, 884), 8, 32)
    assert boundary_error_analysis.compare(vessel, predicted, FOV) == expected


def test_a_corner_touches_and_nothing_outside_the_fov_counts(vessel):
    fov = FOV.copy()
    fov[:, 16:] = False
    annotated, predicted = vessel & (np.arange(32) < 8), np.zeros((32, 32), bool)
    predicted[14, 8] = predicted[20, 20] = True
    expected = BoundaryErrors(confusion_matrix.Counts(0, 1, 32, 479), 1, 1)
    assert boundary_error_analysis.compare(annotated, predicted, fov) == expected


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (boundary_error_analysis.dilate, (128, 32, 0)),
        (boundary_error_analysis.erode, (96, 0, 32)),
        (boundary_error_analysis.shift, (124, 0, 4)),
    ],
)
def test_annotation_is_changed_by_one_pixel(vessel, change, expected):
    counts = confusion_matrix.count(vessel, change(vessel), FOV)
    assert (counts.tp, counts.fp, counts.fn) == expected


@pytest.fixture
def _samples(vessel, monkeypatch) -> None:
    monkeypatch.setattr(boundary_error_analysis.samples, "truth", lambda _: vessel)
    monkeypatch.setattr(boundary_error_analysis.samples, "fov", lambda _: FOV)


@pytest.mark.usefixtures("_samples")
def test_errors_are_pooled_over_images_that_have_the_segmentation(vessel):
    segmentations = {1: boundary_error_analysis.dilate(vessel), 2: None, 3: vessel}
    assert boundary_error_analysis.pool_errors(segmentations.get, [1, 2, 3]) == {
        "n_images": 2,
        "pooled_f1": 16 / 17,
        "false_positives_touching_a_vessel": 1.0,
        "false_negatives_touching_a_prediction": None,
    }


@pytest.mark.usefixtures("_samples")
def test_a_segmentation_that_no_image_has_gives_no_row():
    assert boundary_error_analysis.pool_errors({2: None}.get, [2]) is None
