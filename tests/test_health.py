import math

import numpy as np
import pytest

from src import batches, health, training
from src.backend import tf
from src.checkpoints import Store
from src.resumption import Memory
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


def test_gradients_that_stay_nan_in_float16_end_the_training(tmp_path):
    """The optimizer leaves such steps out, so that loss and weights stay sound, and nothing is learned."""

    def loss(truth, probability, weight):
        return LOSS(truth, probability, weight) + tf.reduce_sum(tf.sqrt(0.0 * probability))

    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        longer, log = SCHEDULE._replace(epochs=5), training.EpochLog(tmp_path / "t")
        sentence = r"in float16, .* left out again and again up to epoch 4, .*: set train\.mixed_precision: false"
        with pytest.raises(health.BadLossError, match=sentence):
            training.fit(small_network(), loss, longer, data(), log, None)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def scored(monkeypatch, scores: list[float], break_after: int | None = None) -> list[list[np.ndarray]]:
    """Let the epochs have these validation scores F1; returns where the weights after each will be.

    A weight becomes NaN after the epoch `break_after` (from 0), as if by the first step of the next.
    """
    kept, note, begin = [], training.EpochLog.on_epoch_end, training.EpochLog.on_epoch_begin

    def watched(log: training.EpochLog, epoch: int, logs: dict) -> None:
        kept.append(log.model.get_weights())
        note(log, epoch, logs)
        logs["val_f1"] = scores[epoch]
        log.rows[-1] = [*log.rows[-1]]
        log.rows[-1][log.rows[0].index("validation_f1")] = str(scores[epoch])

    def broken(log: training.EpochLog, epoch: int, logs: dict | None = None) -> None:
        begin(log, epoch, logs)
        if break_after is not None and epoch == break_after + 1:
            log.model.layers[-1].bias.assign([math.nan])  # the next loss is no number

    monkeypatch.setattr(training.EpochLog, "on_epoch_end", watched)
    monkeypatch.setattr(training.EpochLog, "on_epoch_begin", broken)
    return kept


@pytest.mark.parametrize("patience", [None, 3])
def test_kept_weights_are_the_best_by_the_monitor_with_and_without_early_stopping(tmp_path, monkeypatch, patience):
    kept = scored(monkeypatch, [0.4, 0.6, 0.5, 0.5], break_after=2)
    model, schedule = small_network(), SCHEDULE._replace(epochs=4, patience=patience)
    with pytest.raises(health.BadLossError, match="the loss became nan in epoch 4, step 1") as error:
        training.fit(model, LOSS, schedule, data(), training.EpochLog(tmp_path / "t"), None)
    assert (error.value.epoch, error.value.kind) == (2, "the best by validation f1")
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[1], strict=True))


def test_best_weights_outlast_a_stop(tmp_path, monkeypatch):
    kept = scored(monkeypatch, [0.6, 0.5, 0.4, 0.4])
    store = Store(tmp_path / "checkpoints")
    first, schedule = SCHEDULE._replace(epochs=2), SCHEDULE._replace(epochs=4)
    training.fit(small_network(), LOSS, first, data(), training.EpochLog(tmp_path / "t"), Memory(store))
    scored(monkeypatch, [0.6, 0.5, 0.4, 0.4], break_after=2)
    model, memory = small_network(), Memory(store)
    with pytest.raises(health.BadLossError) as error:
        training.fit(model, LOSS, schedule, data(), training.EpochLog(tmp_path / "t", memory.rows()), memory)
    assert error.value.epoch == 1
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights(), kept[0], strict=True))


def test_without_validation_the_last_good_weights_are_kept(tmp_path, monkeypatch):
    model = small_network()
    begin = training.EpochLog.on_epoch_begin

    def broken(log: training.EpochLog, epoch: int, logs: dict | None = None) -> None:
        begin(log, epoch, logs)
        if epoch == 2:
            log.model.layers[-1].bias.assign([math.nan])

    monkeypatch.setattr(training.EpochLog, "on_epoch_begin", broken)
    given = data()._replace(validation=None)
    with pytest.raises(health.BadLossError) as error:
        training.fit(model, LOSS, SCHEDULE, given, training.EpochLog(tmp_path / "t"), None)
    assert (error.value.epoch, error.value.kind) == (2, "the last without a validation score")
    assert health.finite(model.get_weights())


def without_gradient(truth, probability, weight):
    """A loss that is a number, while its gradient is none."""
    return LOSS(truth, probability, weight) + tf.sqrt(0.0 * tf.reduce_sum(probability))


@pytest.mark.parametrize("held_out", [True, False])
def test_weights_that_the_last_step_broke_are_refused(tmp_path, held_out):
    schedule = SCHEDULE._replace(epochs=1, steps_per_epoch=1)
    given = data() if held_out else data()._replace(validation=None)
    with pytest.raises(health.BadLossError, match=r"^a weight became NaN or infinite in epoch 1, step 1, at") as error:
        training.fit(small_network(), without_gradient, schedule, given, training.EpochLog(tmp_path / "t"), None)
    first, second = next(batches.groups(6, 2, 1))
    assert f"at learning rate 0.01, on the augmented patches {first}, {second}: look at these" in str(error.value)


def test_validation_loss_that_is_no_number_is_refused(tmp_path):
    given = data()
    held_out = given.validation._replace(truth=np.roll(given.validation.truth, 1, axis=1))
    log = training.EpochLog(tmp_path / "t")
    with pytest.raises(health.BadLossError, match="validation loss became nan after epoch 1, step 4") as error:
        training.fit(
            small_network(), broken_at(held_out.truth[5]), SCHEDULE, given._replace(validation=held_out), log, None
        )
    assert "look at data/patches/validation" in str(error.value)
    assert error.value.epoch is None


@pytest.mark.parametrize(
    ("monitor", "scores", "over", "warned"),
    [
        ("f1", [0.5, 0.4, 0.5, 0.3, 0.1], False, True),
        ("f1", [0.5, 0.4, 0.6, 0.3, 0.1], False, False),
        ("loss", [0.5, 0.6, 0.7, 0.8, 0.9], False, True),
        ("loss", [0.5, 0.6, 0.4, 0.8, 0.9], False, False),
        ("mcc", [math.nan] * 5, False, True),
        ("mcc", [math.nan, 0.1, 0.1, 0.1, 0.1], False, False),
        ("f1", [0.5, 0.4], False, False),
        ("f1", [0.5, 0.4], True, True),
        ("f1", [0.5, 0.4, 0.3, 0.2, 0.1, 0.0], True, False),  # once was enough
        ("f1", [0.5], True, False),
    ],
)
def test_score_that_never_rises_is_warned_of_once(monitor, scores, over, warned, capsys):
    health.warn_if_flat(monitor, scores, over)
    assert ("warning: validation" in capsys.readouterr().err) == warned


@pytest.mark.parametrize("patience", [1, 2, 3, 6, None])
def test_training_that_ends_after_its_first_epoch_was_the_best_is_warned_of_once(
    tmp_path, monkeypatch, capsys, patience
):
    scored(monkeypatch, [0.5] + [0.4] * 7)
    schedule = SCHEDULE._replace(epochs=8, patience=patience)
    training.fit(small_network(), LOSS, schedule, data(), training.EpochLog(tmp_path / "t"), None)
    assert capsys.readouterr().err.count("warning: validation f1 was never better") == 1
