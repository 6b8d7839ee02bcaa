import numpy as np
import pytest

from src import mapping, metrics, models, samples
from src.backend import tf
from src.predictor import Maps, Predictor, Views

SHAPE = (60, 80)
FOV = np.zeros(SHAPE, bool)
FOV[5:55, 10:70] = True
VESSELS = np.eye(*SHAPE, dtype=bool)


class Darkness:
    """A predictor that takes darkness of the prepared image for probability, in one scale."""

    scales = (1.0,)

    def maps(self, image: np.ndarray) -> Maps:
        return Maps((1 - image[..., 0] / 255).astype(np.float32), None)


@pytest.fixture
def root(tmp_path):
    samples.write_table(tmp_path, [("drive", "01", "a"), ("drive", "02", "b")])
    for id_, shade in (("01", 90), ("02", 60)):
        image = np.where(VESSELS[..., None], shade // 2, shade).astype(np.uint8) * np.ones(3, np.uint8)
        samples.write_eye(tmp_path, "drive", samples.Eye(id_, "a", image, VESSELS, FOV, None))
    return tmp_path


def test_maps_have_the_native_size_and_are_zero_outside_the_fov(root):
    found = list(mapping.maps(root, Darkness(), fov_diameter=120, clahe=0.0))
    assert [sample.id for sample, _ in found] == ["01", "02"]
    for _, (probability, _) in found:
        assert probability.shape == SHAPE
        assert not probability[~FOV].any()
        assert probability[VESSELS & FOV].mean() > probability[~VESSELS & FOV].mean() + 0.3


def test_pooled_holds_every_pixel_in_the_fov_of_every_image(root):
    h = mapping.pooled(mapping.maps(root, Darkness(), fov_diameter=60, clahe=0.0))
    assert h.vessel.sum() == 2 * (VESSELS & FOV).sum()
    assert h.background.sum() == 2 * (~VESSELS & FOV).sum()
    assert metrics.auc_roc(h) == 1.0


def test_a_network_maps_a_subset(root):
    image = tf.keras.Input((None, None, 3))
    network = tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, activation="sigmoid")(image))
    predictor = Predictor(
        models.forward(network), None, Views(tile=64, overlap=16, flips=True, batch_size=4, scales=(1.0,))
    )
    (first, _), (second, _) = mapping.maps(root, predictor, fov_diameter=60, clahe=0.0)
    assert (first.id, second.id) == ("01", "02")
