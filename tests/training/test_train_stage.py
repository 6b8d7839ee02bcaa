import numpy as np
import pytest

from src.models import architectures, model_io
from src.params import load_params
from src.training.epoch_log import EpochLog
from src.training.trainer import TrainingData
from stages import train as train_stage
from tests.training.small_training import random_patches

FILTERS = (4, 8)


@pytest.fixture
def pretrained(tmp_path):
    """A network and its file."""
    network = architectures.build("residual_unet", "", None, FILTERS, 32)
    model_io.save(network, tmp_path / "pretrained.h5")
    return network, tmp_path / "pretrained.h5"


def test_saved_weights_are_between_the_trained_and_the_pretrained_ones(pretrained, tmp_path):
    network, file = pretrained
    params, patches = load_params(), random_patches(side=32)
    model = params.model.model_copy(
        update={"architecture": "residual_unet", "encoder_weights": str(file), "filters": FILTERS}
    )

    def weights(fraction):
        small = {"epochs": 1, "steps_per_epoch": 2, "batch_size": 2, "ensemble_size": 2, "mixed_precision": False}
        train = params.train.model_copy(update=small | {"pretrained_fraction": fraction})
        data, log = TrainingData(patches, None, 2, 1), EpochLog(tmp_path / "training.csv")
        members = train_stage.train_members(data, log, model, params.loss, train, None)
        return [member.get_weights() for member in members]

    for trained, between in zip(weights(0.0), weights(0.25), strict=True):
        pairs = list(zip(trained, between, network.get_weights(), strict=True))
        assert all(np.allclose(mean, 0.75 * after + 0.25 * before, atol=1e-6) for after, mean, before in pairs)
        assert any(np.abs(after - before).max() > 1e-3 for after, _, before in pairs)
