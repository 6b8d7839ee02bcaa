import itertools
import math

import numpy as np
import pytest

from src.models.tensorflow_setup import tf
from src.training import data_loader, divergence_guard, trainer
from src.training.checkpoint_store import CheckpointStore
from src.training.divergence_guard import DivergenceError
from src.training.epoch_log import EpochLog
from src.training.resume import TrainingState
from tests.training.small_training import LOSS, SCHEDULE, small_network, training_data


def nan_at(patch: np.ndarray):
    """A loss that is NaN for a batch with the patch of this truth."""

    def loss(truth, probability, weight):
        present = tf.reduce_any(tf.reduce_all(truth == patch.astype(np.float32), axis=(1, 2)))
        return LOSS(truth, probability, weight) * tf.where(present, float("nan"), 1.0)

    return loss


def test_nan_loss_names_epoch_step_learning_rate_and_patches(tmp_path):
    patches = training_data()
    model = small_network()
    with pytest.raises(DivergenceError) as error:
        trainer.fit(model, nan_at(patches.train.truth[3]), SCHEDULE, patches, EpochLog(tmp_path / "t"), None)
    step, indices = next(item for item in enumerate(data_loader.batch_indices(6, 2, 1)) if 3 in item[1])
    assert f"the loss became nan in epoch 1, step {step + 1}, at learning rate 0.0" in str(error.value)
    assert f"on the augmented patches {indices[0]}, {indices[1]}" in str(error.value)
    assert (", or by the update on " in str(error.value)) == (step > 0)
    assert error.value.epoch is None


@pytest.mark.slow
def test_gradients_that_stay_nan_in_float16_end_the_training(tmp_path):
    """The optimizer skips such steps, so that loss and weights stay finite, and nothing is learned."""

    def loss(truth, probability, weight):
        return LOSS(truth, probability, weight) + tf.reduce_sum(tf.sqrt(0.0 * probability))

    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        schedule, log = SCHEDULE._replace(epochs=5), EpochLog(tmp_path / "t")
        message = r"in float16, steps were skipped .*, up to epoch 4, .*: set train\.mixed_precision: false"
        with pytest.raises(DivergenceError, match=message):
            trainer.fit(small_network(), loss, schedule, training_data(), log, None)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def set_scores(monkeypatch, scores: list[float], break_after: int | None = None) -> list[list[np.ndarray]]:
    """Give the epochs these validation F1 scores; returns the list to which the weights after each are appended.

    A weight becomes NaN after the epoch `break_after` (from 0), as if by the first step of the next.
    """
    weights, on_epoch_end, on_epoch_begin = [], EpochLog.on_epoch_end, EpochLog.on_epoch_begin

    def end(log: EpochLog, epoch: int, logs: dict) -> None:
        weights.append(log.model.get_weights())
        on_epoch_end(log, epoch, logs)
        logs["val_f1"] = scores[epoch]
        log.rows[-1] = [*log.rows[-1]]
        log.rows[-1][log.rows[0].index("validation_f1")] = str(scores[epoch])

    def begin(log: EpochLog, epoch: int, logs: dict | None = None) -> None:
        on_epoch_begin(log, epoch, logs)
        if break_after is not None and epoch == break_after + 1:
            log.model.layers[-1].bias.assign([math.nan])  # so that the next loss is NaN

    monkeypatch.setattr(EpochLog, "on_epoch_end", end)
    monkeypatch.setattr(EpochLog, "on_epoch_begin", begin)
    return weights


@pytest.mark.parametrize("patience", [None, 3])
def test_best_weights_by_the_monitor_are_restored_with_and_without_early_stopping(tmp_path, monkeypatch, patience):
    weights = set_scores(monkeypatch, [0.4, 0.6, 0.5, 0.5], break_after=2)
    model, schedule = small_network(), SCHEDULE._replace(epochs=4, patience=patience)
    with pytest.raises(DivergenceError, match="the loss became nan in epoch 4, step 1") as error:
        trainer.fit(model, LOSS, schedule, training_data(), EpochLog(tmp_path / "t"), None)
    assert (error.value.epoch, error.value.description) == (2, "the best by validation f1")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[1], strict=True))


def test_best_weights_survive_a_stop(tmp_path, monkeypatch):
    weights = set_scores(monkeypatch, [0.6, 0.5, 0.4, 0.4])
    store = CheckpointStore(tmp_path / "checkpoints")
    first, schedule = SCHEDULE._replace(epochs=2), SCHEDULE._replace(epochs=4)
    trainer.fit(small_network(), LOSS, first, training_data(), EpochLog(tmp_path / "t"), TrainingState(store))
    set_scores(monkeypatch, [0.6, 0.5, 0.4, 0.4], break_after=2)
    model, training_state = small_network(), TrainingState(store)
    log = EpochLog(tmp_path / "t", training_state.table_rows())
    with pytest.raises(DivergenceError) as error:
        trainer.fit(model, LOSS, schedule, training_data(), log, training_state)
    assert error.value.epoch == 1
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), weights[0], strict=True))


def test_without_validation_the_last_finite_weights_are_restored(tmp_path, monkeypatch):
    model = small_network()
    begin = EpochLog.on_epoch_begin

    def broken(log: EpochLog, epoch: int, logs: dict | None = None) -> None:
        begin(log, epoch, logs)
        if epoch == 2:
            log.model.layers[-1].bias.assign([math.nan])

    monkeypatch.setattr(EpochLog, "on_epoch_begin", broken)
    patches = training_data()._replace(validation=None)
    with pytest.raises(DivergenceError) as error:
        trainer.fit(model, LOSS, SCHEDULE, patches, EpochLog(tmp_path / "t"), None)
    assert (error.value.epoch, error.value.description) == (2, "the last without a validation score")
    assert divergence_guard.all_finite(model.get_weights())


def loss_with_nan_gradient(truth, probability, weight):
    """A loss that is finite, while its gradient is NaN."""
    return LOSS(truth, probability, weight) + tf.sqrt(0.0 * tf.reduce_sum(probability))


@pytest.mark.parametrize("held_out", [True, False])
def test_weights_that_the_last_step_made_nan_are_detected(tmp_path, held_out):
    schedule = SCHEDULE._replace(epochs=1, steps_per_epoch=1)
    patches = training_data() if held_out else training_data()._replace(validation=None)
    with pytest.raises(DivergenceError, match=r"^a weight became NaN or infinite in epoch 1, step 1, at") as error:
        trainer.fit(small_network(), loss_with_nan_gradient, schedule, patches, EpochLog(tmp_path / "t"), None)
    first, second = next(data_loader.batch_indices(6, 2, 1))
    assert f"at learning rate 0.01, on the augmented patches {first}, {second}: look at these" in str(error.value)


def test_loss_that_the_update_before_made_nan_names_the_patches_of_both_steps(tmp_path):
    patches = training_data()
    with pytest.raises(DivergenceError, match=r"^the loss became nan in epoch 1, step 2, at") as error:
        trainer.fit(small_network(), loss_with_nan_gradient, SCHEDULE, patches, EpochLog(tmp_path / "t"), None)
    cause, shown = (", ".join(map(str, each)) for each in itertools.islice(data_loader.batch_indices(6, 2, 1), 2))
    assert f"on the augmented patches {shown}, or by the update on {cause}: look at these" in str(error.value)


def test_nan_validation_loss_is_detected(tmp_path):
    patches = training_data()
    held_out = patches.validation._replace(truth=np.roll(patches.validation.truth, 1, axis=1))
    log = EpochLog(tmp_path / "t")
    with pytest.raises(DivergenceError, match="validation loss became nan after epoch 1, step 4") as error:
        trainer.fit(
            small_network(), nan_at(held_out.truth[5]), SCHEDULE, patches._replace(validation=held_out), log, None
        )
    assert "look at data/patches/validation" in str(error.value)
    assert error.value.epoch is None


@pytest.mark.parametrize(
    ("monitor", "scores", "ended", "warned"),
    [
        ("f1", [0.5, 0.4, 0.5, 0.3, 0.1], False, True),
        ("f1", [0.5, 0.4, 0.6, 0.3, 0.1], False, False),
        ("loss", [0.5, 0.6, 0.7, 0.8, 0.9], False, True),
        ("loss", [0.5, 0.6, 0.4, 0.8, 0.9], False, False),
        ("mcc", [math.nan] * 5, False, True),
        ("mcc", [math.nan, 0.1, 0.1, 0.1, 0.1], False, False),
        ("f1", [0.5, 0.4], False, False),
        ("f1", [0.5, 0.4], True, True),
        ("f1", [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], True, False),  # warned of before
        ("f1", [0.5], True, False),
    ],
)
def test_score_that_never_improves_is_warned_of(monitor, scores, ended, warned, capsys):
    divergence_guard.warn_if_flat(monitor, scores, ended)
    assert ("warning: validation" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("patience", [1, pytest.param(6, marks=pytest.mark.slow), None])
def test_training_whose_first_epoch_is_the_best_is_warned_of_once(tmp_path, monkeypatch, capsys, patience):
    set_scores(monkeypatch, [0.5] + [0.4] * 7)
    schedule = SCHEDULE._replace(epochs=8, patience=patience)
    trainer.fit(small_network(), LOSS, schedule, training_data(), EpochLog(tmp_path / "t"), None)
    assert capsys.readouterr().err.count("warning: validation f1 was never better") == 1
