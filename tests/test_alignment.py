import cv2
import numpy as np
import pytest

from src import alignment, datasets, download, phantom

FAR = 10  # pixels, the least displacement that has to be found


def moved(drawing: np.ndarray, down: int, right: int) -> np.ndarray:
    """The drawing moved, and nothing where it was cut off."""
    shift = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(drawing.astype(np.uint8), shift, drawing.shape[::-1]) > 0


def circle(angle: float, radius: float) -> tuple[int, int]:
    return round(radius * np.sin(angle)), round(radius * np.cos(angle))


@pytest.fixture(scope="module")
def eye() -> phantom.Phantom:
    return phantom.draw(1, 3, 584, 565)


@pytest.mark.parametrize("size", [(120, 128), (584, 565)])
def test_truth_fits_best_where_it_lies(size):
    fit = alignment.fit(*phantom.draw(1, 0, *size))
    assert fit.is_good()
    assert (fit.right, fit.down) == (0, 0)
    assert fit.best == fit.contrast


@pytest.mark.parametrize("angle", np.arange(0, 2 * np.pi, np.pi / 4))
def test_displacement_is_found_and_undoes_the_move(eye, angle):
    down, right = circle(angle, 20)
    fit = alignment.fit(eye.image, moved(eye.truth, down, right), eye.fov)
    assert not fit.is_good()
    assert (fit.down, fit.right) == pytest.approx((-down, -right), abs=1.5)


@pytest.mark.parametrize("truth", [lambda truth: truth[:, ::-1], lambda truth: truth[::-1], np.rot90])
def test_flipped_or_turned_truth_fits_nowhere(truth):
    eye = phantom.draw(1, 5, 400, 400)
    fit = alignment.fit(eye.image, np.ascontiguousarray(truth(eye.truth)), eye.fov)
    assert fit.best < alignment.LEAST_CONTRAST


def test_truth_of_another_eye_fits_nowhere(eye):
    fit = alignment.fit(eye.image, phantom.draw(1, 4, 584, 565).truth, eye.fov)
    assert fit.best < alignment.LEAST_CONTRAST


def test_empty_truth_has_no_fit(eye):
    assert alignment.fit(eye.image, np.zeros_like(eye.truth), eye.fov) is None
    assert alignment.fit(eye.image, ~eye.fov, eye.fov) is None


def test_photograph_without_contrast_has_a_fit_that_is_a_number(eye):
    fit = alignment.fit(np.full_like(eye.image, 90), eye.truth, eye.fov)
    assert np.isfinite(fit).all()
    assert not fit.is_good()


def test_narrow_field_of_view_has_a_fit():
    image, field = np.zeros((1, 400, 3), np.uint8), np.ones((1, 400), bool)
    assert not alignment.fit(image, field, field).is_good()


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "split"), [("drive", "20/20"), ("chase_db1", "20/8"), ("rbv", "80/20")])
def test_real_truths_fit_and_displaced_ones_do_not(archives, tmp_path, name, split):
    for entry in download.public(name, split, datasets.Subsets(False, True), tmp_path).test[:8]:
        eye = entry.load()
        assert alignment.fit(eye.image, eye.truth, eye.fov).is_good()
        for angle in np.arange(0, 2 * np.pi, np.pi / 2):
            displaced = moved(eye.truth, *circle(angle, FAR))
            assert not alignment.fit(eye.image, displaced, eye.fov).is_good()
