import cv2
import numpy as np
import pytest

from src.data import archives, fov_detection, image_decoding

HEIGHT, WIDTH = 292, 283


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def disc(radius: float = 130.0, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - height / 2, x - width / 2) <= radius


def fundus_image(field: np.ndarray, colour: tuple[int, int, int] = (200, 110, 60)) -> np.ndarray:
    return np.where(field[..., None], np.array(colour, np.uint8), np.uint8(0))


def test_disc_is_detected():
    assert overlap(fov_detection.detect(fundus_image(disc())), disc()) > 0.99


def test_large_image_is_scaled_down_for_detection():
    large = disc(5 * 130.0, 5 * HEIGHT, 5 * WIDTH)
    found = fov_detection.detect(fundus_image(large))
    assert found.shape == large.shape
    assert overlap(found, large) > 0.99


@pytest.mark.parametrize("sigma", [2, 8])
def test_detection_is_robust_to_noise(sigma):
    noise = np.random.default_rng(1).normal(0, sigma, (HEIGHT, WIDTH, 3))
    noisy = np.clip(fundus_image(disc()) + noise, 0, 255).astype(np.uint8)
    assert overlap(fov_detection.detect(noisy), disc()) > 0.99


def test_text_outside_is_excluded():
    image = fundus_image(disc(110))
    cv2.putText(image, "OD 2019", (2, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (255, 255, 255), 2)
    cv2.rectangle(image, (0, 275), (60, 291), (255, 255, 255), -1)
    assert overlap(fov_detection.detect(image), disc(110)) > 0.99


def test_dark_edge_is_included():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = np.clip(1.2 - np.hypot(y - 100, x - 90) / 190, 0.12, 1)
    image = (fundus_image(disc()) * light[..., None]).astype(np.uint8)
    assert overlap(fov_detection.detect(image), disc()) > 0.98


def test_bright_rim_does_not_hide_the_inside():
    image = fundus_image(disc(), (70, 40, 20))
    image[disc() & ~disc(124)] = (255, 240, 220)
    assert overlap(fov_detection.detect(image), disc()) > 0.99


def test_dark_lesion_inside_is_included():
    image = fundus_image(disc())
    cv2.circle(image, (140, 150), 40, (4, 2, 0), -1)
    assert overlap(fov_detection.detect(image), disc()) > 0.99


def test_grey_border_is_outside():
    image = np.maximum(fundus_image(disc()), np.uint8(18))
    assert overlap(fov_detection.detect(image), disc()) > 0.99


def test_straight_cuts_stay_cut():
    cut = disc(160)
    cut[:20] = cut[-20:] = False
    assert overlap(fov_detection.detect(fundus_image(cut)), cut) > 0.99


def test_image_without_border_is_all_field_of_view():
    assert fov_detection.detect(np.full((90, 80, 3), (180, 90, 40), np.uint8)).all()


def test_disc_of_another_size_is_detected():
    field = disc(460, 1000, 1000)
    assert overlap(fov_detection.detect(fundus_image(field)), field) > 0.99


@pytest.mark.parametrize("level", [0, 3])
def test_black_image_has_no_field_of_view(level):
    with pytest.raises(ValueError, match="expected a field of view"):
        fov_detection.detect(np.full((HEIGHT, WIDTH, 3), level, np.uint8))


def test_black_image_with_text_has_no_field_of_view():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.putText(image, "no eye", (20, 80), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 3)
    with pytest.raises(ValueError, match="expected a field of view"):
        fov_detection.detect(image)


def test_dim_image_with_bright_lines_has_no_field_of_view():
    """Only thin lines are brighter than their neighbourhood."""
    image = np.zeros((300, 300, 3), np.uint8)
    image[50:250, 50:250] = 40
    for column in range(50, 250, 13):
        image[50:250, column : column + 4] = 250
    with pytest.raises(ValueError, match="expected a field of view"):
        fov_detection.detect(image)


@pytest.mark.parametrize("colour", [(255, 255, 255), (128, 128, 128), (200, 200, 210), (20, 120, 220)])
@pytest.mark.parametrize("quality", [None, 95, 75])
def test_bright_uniform_surround_is_outside(colour, quality):
    noise = np.random.default_rng(1).normal(0, 6, (HEIGHT, WIDTH, 1))
    image = np.clip(fundus_image(disc(), (150, 75, 50)) + noise, 0, 255)
    image = np.where(disc()[..., None], image, colour).astype(np.uint8)
    if quality:
        image = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    assert overlap(fov_detection.detect(image), disc()) > 0.97
    assert fov_detection.count_fields(image) == 1


def test_label_in_a_corner_of_a_bright_surround_is_outside():
    image = np.where(disc()[..., None], fundus_image(disc()), np.uint8(255))
    image[:20, 200:] = 30
    assert overlap(fov_detection.detect(image), disc()) > 0.97


def test_screenshot_on_a_white_page_is_the_disc_in_it():
    page = np.full((2 * HEIGHT, 2 * WIDTH, 3), 255, np.uint8)
    page[100 : 100 + HEIGHT, 90 : 90 + WIDTH] = fundus_image(disc())
    field = np.zeros(page.shape[:2], bool)
    field[100 : 100 + HEIGHT, 90 : 90 + WIDTH] = disc()
    assert overlap(fov_detection.detect(page), field) > 0.97


@pytest.mark.parametrize("level", [0, 3, 18])
def test_dark_surround_is_left_as_it_is(level):
    image = np.maximum(fundus_image(disc()), np.uint8(level))
    assert fov_detection._darken_surround(image) is image


@pytest.mark.parametrize("slope", [0, 0.05, 0.2])
def test_fundus_that_fills_the_image_is_no_surround(slope):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    light = 1 - slope * np.hypot(y - HEIGHT / 2, x - WIDTH / 2) / (HEIGHT / 2)  # its corners are alike
    noise = np.random.default_rng(1).normal(0, 3, (HEIGHT, WIDTH, 3))
    image = np.clip(light[..., None] * (200, 110, 60) + noise, 0, 255).astype(np.uint8)
    assert fov_detection.detect(image).all()


@pytest.mark.parametrize(("images", "expected"), [(1, 1), (2, 2)])
def test_fields_of_view_are_counted(images, expected):
    assert fov_detection.count_fields(np.concatenate([fundus_image(disc())] * images, axis=1)) == expected


def test_small_bright_mark_beside_the_disc_is_no_second_field():
    image = fundus_image(disc(110))
    cv2.rectangle(image, (0, 240), (50, 291), (255, 255, 255), -1)
    assert fov_detection.count_fields(image) == 1


@pytest.mark.real_data
def test_official_fields_of_drive_are_matched(real_archives):
    for path in sorted((real_archives / "DRIVE").glob("*/images/*.tif")):
        official = path.parent.parent / "mask" / f"{path.stem}_mask.gif"
        image = image_decoding.decode(archives.read_file(archives.StoredFile(path)), str(path)).image
        field = image_decoding.decode_annotation(archives.read_file(archives.StoredFile(official)), str(official))
        assert overlap(fov_detection.detect(image), field) > 0.99, path
