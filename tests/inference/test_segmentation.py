import numpy as np

from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.preprocessing import normalization

IMAGE = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
FOV = np.zeros((60, 80), bool)
FOV[5:55, 10:70] = True  # 60 pixels wide


def segment(*scales: float) -> tuple[list[np.ndarray], np.ndarray]:
    """The inputs of a network for the image at a FOV of 30 pixels, and the probability; it outputs 1/4, 2/4, ..."""
    inputs = []

    def forward(images: np.ndarray) -> np.ndarray:
        inputs.append(images)
        return np.full((*images.shape[:3], 1), len(inputs) / 4, np.float32)

    predictor = SlidingWindowPredictor(forward, None, InferenceConfig(1024, 0, False, 4, scales))
    return inputs, segmentation.segment_image(IMAGE, FOV, predictor, fov_diameter=30, clahe_clip_limit=0.0).probability


def test_each_scale_is_resampled_from_the_native_image():
    inputs, probability = segment(1.0, 2.0, 4.0)
    assert [images.shape for images in inputs] == [(1, 32, 64, 3), (1, 64, 96, 3), (1, 128, 160, 3)]  # multiples of 32
    assert np.array_equal(inputs[1][0, :60, :80], normalization.standardize(IMAGE, FOV))  # 60 pixels: not resampled
    assert probability.shape == FOV.shape
    assert np.allclose(probability[FOV], (1 / 4 + 2 / 4 + 3 / 4) / 3)
    assert not probability[~FOV].any()


def test_single_scale_need_not_be_one():
    inputs, _ = segment(0.5)
    assert [images.shape for images in inputs] == [(1, 32, 32, 3)]
