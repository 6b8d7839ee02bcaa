import cv2
import numpy as np
import pytest

from src.data import annotation_alignment, entries
from src.data.splits import Uses
from src.synthetic import generator

FAR = 10  # pixels, the least displacement that must be detected


def displaced(annotation: np.ndarray, down: int, right: int) -> np.ndarray:
    """Displace an annotation; what leaves the image is lost."""
    shift = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(annotation.astype(np.uint8), shift, annotation.shape[::-1]) > 0


def circle(angle: float, radius: float) -> tuple[int, int]:
    return round(radius * np.sin(angle)), round(radius * np.cos(angle))


@pytest.fixture(scope="module")
def labelled() -> generator.SyntheticImage:
    return generator.generate(1, 3, 584, 565)


@pytest.mark.parametrize("size", [(120, 128), (584, 565)])
def test_truth_fits_best_where_it_is(size):
    fit = annotation_alignment.measure_alignment(*generator.generate(1, 0, *size))
    assert fit.is_good()
    assert (fit.right, fit.down) == (0, 0)
    assert fit.best == fit.contrast


@pytest.mark.parametrize("angle", np.arange(0, 2 * np.pi, np.pi / 4))
def test_displacement_is_measured(labelled, angle):
    down, right = circle(angle, 20)
    fit = annotation_alignment.measure_alignment(labelled.image, displaced(labelled.truth, down, right), labelled.fov)
    assert not fit.is_good()
    assert (fit.down, fit.right) == pytest.approx((-down, -right), abs=1.5)


@pytest.mark.parametrize("truth", [lambda truth: truth[:, ::-1], lambda truth: truth[::-1], np.rot90])
def test_flipped_or_rotated_truth_fits_nowhere(truth):
    labelled = generator.generate(1, 5, 400, 400)
    fit = annotation_alignment.measure_alignment(
        labelled.image, np.ascontiguousarray(truth(labelled.truth)), labelled.fov
    )
    assert fit.best < annotation_alignment.MIN_CONTRAST


def test_truth_of_another_image_fits_nowhere(labelled):
    fit = annotation_alignment.measure_alignment(labelled.image, generator.generate(1, 4, 584, 565).truth, labelled.fov)
    assert fit.best < annotation_alignment.MIN_CONTRAST


def test_empty_truth_has_no_alignment(labelled):
    assert annotation_alignment.measure_alignment(labelled.image, np.zeros_like(labelled.truth), labelled.fov) is None
    assert annotation_alignment.measure_alignment(labelled.image, ~labelled.fov, labelled.fov) is None


def test_alignment_of_an_image_without_contrast_is_finite(labelled):
    fit = annotation_alignment.measure_alignment(np.full_like(labelled.image, 90), labelled.truth, labelled.fov)
    assert np.isfinite(fit).all()
    assert not fit.is_good()


def test_narrow_field_of_view_has_an_alignment():
    image, field = np.zeros((1, 400, 3), np.uint8), np.ones((1, 400), bool)
    assert not annotation_alignment.measure_alignment(image, field, field).is_good()


@pytest.mark.real_data
@pytest.mark.parametrize(("name", "split"), [("drive", "20/20"), ("chase_db1", "20/8"), ("rbv", "80/20")])
def test_real_truths_fit_and_displaced_ones_do_not(real_archives, tmp_path, name, split):
    for entry in entries.public_entries(name, split, Uses(False, True), tmp_path).test[:8]:
        labelled = entry.load()
        assert annotation_alignment.measure_alignment(labelled.image, labelled.truth, labelled.fov).is_good()
        for angle in np.arange(0, 2 * np.pi, np.pi / 2):
            wrong = displaced(labelled.truth, *circle(angle, FAR))
            assert not annotation_alignment.measure_alignment(labelled.image, wrong, labelled.fov).is_good()
