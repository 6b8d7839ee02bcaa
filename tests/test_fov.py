import cv2
import numpy as np
import pytest

from src import archives, decode, fov

HEIGHT, WIDTH = 292, 283


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def disc(radius: float = 130.0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height / 2, x - width / 2) <= radius


def photograph(field: np.ndarray, colour: tuple[int, int, int] = (200, 110, 60)) -> np.ndarray:
    return np.where(field[..., None], np.array(colour, np.uint8), np.uint8(0))


def test_drawn_disc_is_found():
    assert overlap(fov.find(photograph(disc())), disc()) > 0.99


def test_large_photograph_is_found_in_a_smaller_size():
    large = disc(5 * 130.0, 5 * HEIGHT, 5 * WIDTH)
    found = fov.find(photograph(large))
    assert found.shape == large.shape
    assert overlap(found, large) > 0.99


@pytest.mark.parametrize("sigma", [2, 8])
def test_noise_is_borne(sigma):
    noise = np.random.default_rng(1).normal(0, sigma, (HEIGHT, WIDTH, 3))
    noisy = np.clip(photograph(disc()) + noise, 0, 255).astype(np.uint8)
    assert overlap(fov.find(noisy), disc()) > 0.99


def test_text_marks_outside_are_left_out():
    image = photograph(disc(110))
    cv2.putText(image, "OD 2019", (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    cv2.rectangle(image, (0, 275), (60, 291), (255, 255, 255), -1)
    assert overlap(fov.find(image), disc(110)) > 0.99


def test_dark_edge_is_taken_in():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = np.clip(1.2 - np.hypot(y - 100, x - 90) / 190, 0.12, 1)
    image = (photograph(disc()) * light[..., None]).astype(np.uint8)
    assert overlap(fov.find(image), disc()) > 0.98


def test_bright_rim_does_not_hide_the_inside():
    image = photograph(disc(), (70, 40, 20))
    image[disc() & ~disc(124)] = (255, 240, 220)
    assert overlap(fov.find(image), disc()) > 0.99


def test_dark_lesion_inside_is_taken_in():
    image = photograph(disc())
    cv2.circle(image, (140, 150), 40, (4, 2, 0), -1)
    assert overlap(fov.find(image), disc()) > 0.99


def test_grey_border_is_outside():
    image = np.maximum(photograph(disc()), np.uint8(18))
    assert overlap(fov.find(image), disc()) > 0.99


def test_straight_cuts_stay_cut():
    cut = disc(160)
    cut[:20] = cut[-20:] = False
    assert overlap(fov.find(photograph(cut)), cut) > 0.99


def test_photograph_without_border_is_all_field_of_view():
    assert fov.find(np.full((90, 80, 3), (180, 90, 40), np.uint8)).all()


def test_large_photograph_has_the_same_field_of_view():
    field = disc(460, 1000, 1000)
    assert overlap(fov.find(photograph(field)), field) > 0.99


@pytest.mark.parametrize("level", [0, 3])
def test_black_picture_has_none(level):
    with pytest.raises(ValueError, match="expected a field of view"):
        fov.find(np.full((HEIGHT, WIDTH, 3), level, np.uint8))


def test_black_picture_with_marks_has_none():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.putText(image, "no eye", (20, 80), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 3)
    with pytest.raises(ValueError, match="expected a field of view"):
        fov.find(image)


def test_dim_picture_with_bright_lines_has_none():
    """What is bright beside its neighbourhood is nothing but lines."""
    image = np.zeros((300, 300, 3), np.uint8)
    image[50:250, 50:250] = 40
    for column in range(50, 250, 13):
        image[50:250, column : column + 4] = 250
    with pytest.raises(ValueError, match="expected a field of view"):
        fov.find(image)


@pytest.mark.real_data
def test_drive_own_fields_are_met(archives_folder):
    for path in sorted((archives_folder / "DRIVE").glob("*/images/*.tif")):
        official = path.parent.parent / "mask" / f"{path.stem}_mask.gif"
        image = decode.photograph(archives.read(archives.File(path)), str(path))
        field = decode.drawing(archives.read(archives.File(official)), str(official))
        assert overlap(fov.find(image), field) > 0.99, path


@pytest.fixture
def archives_folder(archives):
    return archives
