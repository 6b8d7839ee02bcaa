from types import SimpleNamespace

import numpy as np
import pytest

from src.data import samples
from src.inference import predict_dataset
from src.metrics.probability_metrics import Histogram
from src.models import architectures, model_io, tensorflow_setup
from stages import evaluate


def test_hysteresis_threshold_that_is_not_above_the_chosen_threshold_is_named(tmp_path, params, monkeypatch):
    vessel, background = np.zeros(65536, int), np.zeros(65536, int)
    vessel[40000], background[30000] = 1, 1  # best thresholds: from .458 on
    monkeypatch.setattr(model_io, "load", lambda path: SimpleNamespace(input_shape=(None, None, None, 3)))
    monkeypatch.setattr(architectures, "as_numpy_function", lambda model: None)
    monkeypatch.setattr(tensorflow_setup, "configure", lambda threads: None)
    monkeypatch.setattr(predict_dataset, "pool_histograms", lambda predicted: {"drive": Histogram(vessel, background)})
    (tmp_path / "thresholds.json").write_text("{}")
    monkeypatch.setattr(samples, "find", lambda root: [])
    section = params.evaluate.model_copy(update={"hysteresis_threshold": 0.4})
    places = [tmp_path / name for name in ("model.h5", "validation", "test", "", "predictions", "metrics")]
    said = r"^evaluate\.hysteresis_threshold: .*that the validation images give \(0\.4.*got 0\.4$"
    with pytest.raises(ValueError, match=said):
        evaluate.main(*places, section, params.loss, params.preprocess, 1)
    assert not (tmp_path / "metrics").exists()
