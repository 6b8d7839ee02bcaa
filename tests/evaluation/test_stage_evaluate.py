import numpy as np
import pytest

from src.common import probability_levels
from src.common.operating_point import read_threshold
from src.data import samples
from src.inference import hysteresis
from src.models import model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from stages import evaluate as stage

SIDE, HIGH = 96, {"hysteresis_threshold": 0.73}


def write_images(root, number: int) -> None:
    """Images with dark noise, whose darkest pixels are vessels."""
    labelled = []
    for index in range(number):
        image = np.random.default_rng(index).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        full = np.ones((SIDE, SIDE), bool)
        labelled.append(samples.LabelledImage(str(index), str(index), image, image[..., 0] < 60, full, None))
    for each in labelled:
        samples.write_labelled_image(root, "drive", each)
    samples.write_table(root, [("drive", each.id, each.group) for each in labelled])


@pytest.mark.usefixtures("no_workers")
def test_hysteresis_changes_test_images_at_the_chosen_threshold(tmp_path, params, monkeypatch):
    image = tf.keras.Input((None, None, 3))
    weights = [np.reshape([-1 / 255, 0.0, 0.0], (1, 1, 3, 1)), np.array([1.0])]
    network = tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, weights=weights)(image))
    monkeypatch.setattr(model_io, "load", lambda path: network)
    monkeypatch.setattr(tensorflow_setup, "configure", lambda *_: None)  # once a process
    write_images(tmp_path / "validation", 1)
    write_images(tmp_path / "test", 2)
    (tmp_path / "baselines").mkdir()
    (tmp_path / "baselines" / "thresholds.json").write_text("{}")
    found = {}
    written = {name: tmp_path / name / "metrics" / "validation.json" for name in ("changed", "given")}
    for name, changed in {"plain": {}, "changed": HIGH, "given": HIGH}.items():
        settings = {"thin_vessel_extension": 0.0, "bootstrap_resamples": 100} | changed
        if name == "given":
            settings["threshold"] = read_threshold(written["changed"])
        places = tmp_path / "validation", tmp_path / "test", tmp_path / "baselines"
        outputs = tmp_path / name / "predictions", tmp_path / name / "metrics"
        evaluate = params.evaluate.model_copy(update=settings)
        preprocess = params.preprocess.model_copy(update={"fov_diameter": SIDE})
        stage.main(tmp_path / "model.h5", *places, *outputs, evaluate, params.loss, preprocess, 1)
        found[name] = samples.read_levels(outputs[0] / "drive" / "1.png")
    threshold = read_threshold(written["changed"])
    plain = (found["plain"] / np.float32(65535)).astype(np.float32)
    expected = hysteresis.at_threshold(
        plain, hysteresis.lower_isolated_pieces(plain, HIGH["hysteresis_threshold"]), threshold
    )
    assert np.array_equal(found["changed"], probability_levels.to_levels(expected))
    assert (found["changed"] != found["plain"]).any()
    assert written["given"].read_bytes() == written["changed"].read_bytes()
