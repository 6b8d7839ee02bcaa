import numpy as np

from src import preprocess, segment
from src.predictor import Predictor, Views

IMAGE = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
FOV = np.zeros((60, 80), bool)
FOV[5:55, 10:70] = True  # 60 pixels wide


def seen(*scales: float) -> tuple[list[np.ndarray], np.ndarray]:
    """What a network is shown of the photograph at a FOV of 30 pixels, and the map; it answers 1/4, 2/4, ..."""
    shown = []

    def forward(images: np.ndarray) -> np.ndarray:
        shown.append(images)
        return np.full((*images.shape[:3], 1), len(shown) / 4, np.float32)

    predictor = Predictor(forward, None, Views(1024, 0, False, 4, scales))
    return shown, segment.photograph(IMAGE, FOV, predictor, fov_diameter=30, clahe=0.0).probability


def test_photograph_is_shown_in_each_scale_from_its_own_pixels():
    shown, probability = seen(1.0, 2.0, 4.0)
    assert [images.shape for images in shown] == [(1, 32, 64, 3), (1, 64, 96, 3), (1, 128, 160, 3)]  # multiples of 32
    assert np.array_equal(shown[1][0, :60, :80], preprocess.standardise(IMAGE, FOV))  # 60 pixels: as it is
    assert probability.shape == FOV.shape
    assert np.allclose(probability[FOV], (1 / 4 + 2 / 4 + 3 / 4) / 3)
    assert not probability[~FOV].any()


def test_one_scale_need_not_be_one():
    shown, _ = seen(0.5)
    assert [images.shape for images in shown] == [(1, 32, 32, 3)]
