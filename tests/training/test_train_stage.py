from pathlib import Path

import pytest

from experiments.short_training import with_params
from src.models import tensorflow_setup
from src.params import Params
from stages import train
from tests.integration.train_stage import project


def fingerprint(root: Path, params: Params) -> str:
    inputs = [root / "data/augmented", root / "data/patches/validation"]
    return train.training_fingerprint(params.model, params.loss, params.train, inputs)


@pytest.mark.parametrize(
    "change", [{"model.filters": [8, 16]}, {"loss.gamma": 3.0}, {"train.thin_vessel_weight": 3.0}], ids=str
)
def test_training_with_another_parameter_is_another_one(tmp_path, params, change):
    root = project(tmp_path)
    assert fingerprint(root, with_params(params, change)) != fingerprint(root, params)


def test_training_on_other_patches_is_another_one(tmp_path, params):
    root = project(tmp_path)
    before = fingerprint(root, params)
    assert fingerprint(root, params) == before
    file = root / "data/augmented/truth.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    assert fingerprint(root, params) != before


@pytest.mark.parametrize(
    ("asked", "supported", "warned"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_mixed_precision_that_the_processor_lacks_is_told(asked, supported, warned, monkeypatch, capsys):
    monkeypatch.setattr(tensorflow_setup, "supports_mixed_precision", lambda: supported)
    train.print_devices(1, asked)
    assert ("warning: train.mixed_precision has no effect" in capsys.readouterr().err) == warned
