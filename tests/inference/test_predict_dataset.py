import numpy as np
import pytest

from src.data import samples
from src.inference import predict_dataset
from src.inference.sliding_window import InferenceConfig, Prediction, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.models import architectures
from src.models.tensorflow_setup import tf

SHAPE = (60, 80)
FOV = np.zeros(SHAPE, bool)
FOV[5:55, 10:70] = True
VESSELS = np.eye(*SHAPE, dtype=bool)


class DarknessPredictor:
    """A predictor whose probability is the darkness of the prepared image, at one scale."""

    config = InferenceConfig(tile=64, overlap=0, tta_flips=False, batch_size=1, tta_scales=(1.0,))

    def predict(self, image: np.ndarray) -> Prediction:
        return Prediction((1 - image[..., 0] / 255).astype(np.float32), None)


@pytest.fixture
def root(tmp_path):
    samples.write_table(tmp_path, [("drive", "01", "a"), ("drive", "02", "b")])
    for id_, intensity in (("01", 90), ("02", 60)):
        image = np.where(VESSELS[..., None], intensity // 2, intensity).astype(np.uint8) * np.ones(3, np.uint8)
        samples.write_labelled_image(tmp_path, "drive", samples.LabelledImage(id_, "a", image, VESSELS, FOV, None))
    return tmp_path


def test_predictions_have_the_native_size_and_are_zero_outside_the_fov(root):
    found = list(predict_dataset.predict_subset(root, DarknessPredictor(), fov_diameter=120, clahe_clip_limit=0.0))
    assert [sample.id for sample, _ in found] == ["01", "02"]
    for _, (probability, _) in found:
        assert probability.shape == SHAPE
        assert not probability[~FOV].any()
        assert probability[VESSELS & FOV].mean() > probability[~VESSELS & FOV].mean() + 0.3


def test_pooled_histogram_counts_every_pixel_in_the_fov_of_every_image(root):
    found = predict_dataset.predict_subset(root, DarknessPredictor(), fov_diameter=60, clahe_clip_limit=0.0)
    ((dataset, h),) = predict_dataset.pool_histograms(found).items()
    assert dataset == samples.find(root)[0].dataset
    assert h.vessel.sum() == 2 * (VESSELS & FOV).sum()
    assert h.background.sum() == 2 * (~VESSELS & FOV).sum()
    assert probability_metrics.auc_roc(h) == 1.0


def test_keras_network_predicts_a_subset(root):
    image = tf.keras.Input((None, None, 3))
    network = tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    predictor = SlidingWindowPredictor(
        architectures.as_numpy_function(network),
        None,
        InferenceConfig(tile=64, overlap=16, tta_flips=True, batch_size=4, tta_scales=(1.0,)),
    )
    (first, _), (second, _) = predict_dataset.predict_subset(root, predictor, fov_diameter=60, clahe_clip_limit=0.0)
    assert (first.id, second.id) == ("01", "02")
