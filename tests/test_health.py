import math

import numpy as np
import pytest

from src import batches, health, training
from src.backend import tf
from tests.test_training import LOSS, SCHEDULE, data, small_network


def broken_at(patch: np.ndarray):
    """A loss that is NaN for a batch with that drawing of vessels."""

    def loss(truth, probability, weight):
        hit = tf.reduce_any(tf.reduce_all(truth == patch.astype(np.float32), axis=(1, 2)))
        return LOSS(truth, probability, weight) * tf.where(hit, float("nan"), 1.0)

    return loss


def test_bad_loss_names_epoch_step_rate_and_patches_and_restores_good_weights(tmp_path):
    given = data()
    model = small_network()
    with pytest.raises(health.BadLossError) as error:
        training.fit(model, broken_at(given.train.truth[3]), SCHEDULE, given, training.EpochLog(tmp_path / "t"), None)
    step, indices = next((step, drawn) for step, drawn in enumerate(batches.groups(6, 2, 1)) if 3 in drawn)
    assert f"the loss became nan in epoch 1, step {step + 1}, at learning rate 0.0" in str(error.value)
    assert f"on the augmented patches {indices[0]}, {indices[1]}:" in str(error.value)
    assert error.value.epoch is None


def test_last_good_weights_are_those_of_the_epoch_before(tmp_path, monkeypatch):
    kept = []
    note = training.EpochLog.on_epoch_end

    def watched(log: training.EpochLog, epoch: int, logs: dict) -> None:
        kept.append(log.model.get_weights())
        note(log, epoch, logs)
        if epoch == 1:
            log.model.layers[-1].bias.assign([math.nan])  # the next loss is no number

    monkeypatch.setattr(training.EpochLog, "on_epoch_end", watched)
    model = small_network()
    with pytest.raises(health.BadLossError, match="epoch 3, step 1") as error:
        training.fit(model, LOSS, SCHEDULE, data(), training.EpochLog(tmp_path / "t"), None)
    assert error.value.epoch == 1
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[0], strict=True))


@pytest.mark.parametrize(
    ("monitor", "scores", "epochs", "warned"),
    [
        ("f1", [0.5, 0.4, 0.5, 0.3, 0.1], 9, True),
        ("f1", [0.5, 0.4, 0.6, 0.3, 0.1], 9, False),
        ("loss", [0.5, 0.6, 0.7, 0.8, 0.9], 9, True),
        ("loss", [0.5, 0.6, 0.4, 0.8, 0.9], 9, False),
        ("mcc", [math.nan] * 5, 9, True),
        ("mcc", [math.nan, 0.1, 0.1, 0.1, 0.1], 9, False),
        ("f1", [0.5, 0.4], 9, False),
        ("f1", [0.5, 0.4], 2, True),
        ("f1", [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], 9, False),  # once was enough
        ("f1", [0.5], 1, False),
    ],
)
def test_score_that_never_rises_is_warned_of_once(monitor, scores, epochs, warned, capsys):
    health.warn_if_flat(monitor, scores, epochs)
    assert ("warning: validation" in capsys.readouterr().err) == warned
