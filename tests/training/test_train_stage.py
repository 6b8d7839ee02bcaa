from pathlib import Path

import numpy as np
import pytest

from experiments.short_training import with_params
from src.models import tensorflow_setup
from src.params import Params
from src.training import trainer
from stages import train
from tests.integration.train_stage import project
from tests.training.small_training import random_patches


def fingerprint(root: Path, params: Params) -> str:
    inputs = [root / "data/augmented", root / "data/patches/validation"]
    return train.training_fingerprint(params.model, params.loss, params.train, inputs)


@pytest.mark.parametrize(
    "change", [{"model.filters": [8, 16]}, {"loss.gamma": 3.0}, {"train.thin_vessel_weight": 3.0}], ids=str
)
def test_training_with_another_parameter_is_another_one(tmp_path, params, change):
    root = project(tmp_path)
    assert fingerprint(root, with_params(params, change)) != fingerprint(root, params)


def test_weights_in_the_loss_reach_the_training_of_each_member(params, monkeypatch):
    changes = {"model.architecture": "residual_unet", "model.filters": [4, 8], "train.ensemble_size": 2}
    truth, fov = np.zeros((1, 32, 32), np.float32), np.ones((1, 32, 32), np.float32)
    truth[0, 8], truth[0, 16:28] = 1, 1  # a thin vessel and a wide one
    probability = np.where(truth, 0.6, 0.3).astype(np.float32)
    values: list[float] = []

    def note(network, loss, *_) -> None:
        values.append(float(loss(truth, probability, fov)))

    monkeypatch.setattr(train.trainer, "fit", note)
    data = trainer.TrainingData(random_patches(side=32), None, 2, 1)
    for weights in ({}, {"train.thin_vessel_weight": 3.0}, {"train.skeleton_recall_weight": [0.0, 1.0]}):
        changed = with_params(params, changes | weights)
        train.train_members(data, None, changed.model, changed.loss, changed.train, None)
    plain, _, thin, thin_of_second, first, second = values
    assert plain != thin == thin_of_second
    assert first == plain != second


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
