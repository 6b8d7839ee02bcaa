import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from src.models import architectures, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.training import trainer
from src.training.checkpoint_store import CheckpointStore
from src.training.divergence_guard import DivergenceError
from src.training.epoch_log import EpochLog
from src.training.resume import TrainingState, variables
from stages.train import open_training_state, save_best_network
from tests.training.small_training import LOSS, SCHEDULE, training_data

EARLY_STOPPING = SCHEDULE._replace(
    epochs=9, learning_rate=3.0, cosine=False, clip_norm=None, monitor="loss", patience=3
)
Result = tuple[list[np.ndarray], bytes]


class KilledError(Exception):
    """Stands for a killed process."""


def network(seed: int) -> tf.keras.Model:
    """A small one with all kinds of state: statistics of batches, random numbers of dropout."""
    tensorflow_setup.set_seed(seed)
    layers = tf.keras.layers
    return tf.keras.Sequential(
        [
            layers.Rescaling(1 / 36, -128 / 36, input_shape=(None, None, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.Dropout(0.2),
            layers.Conv2D(1, 1, activation="sigmoid", dtype="float32"),
        ]
    )


@pytest.fixture(autouse=True)
def random_state_in_variables():
    """Dropout keeps its random state in variables, as after `tensorflow_setup.configure`."""
    tf.keras.backend.experimental.enable_tf_random_generator()
    yield
    tf.keras.backend.experimental.disable_tf_random_generator()


def train(
    folder: Path,
    schedule: trainer.TrainingSchedule = SCHEDULE,
    ensemble_size: int = 1,
    kill: tuple[int, int] | None = None,
) -> Result:
    """All variables of the members and the table after a training; KilledError in an epoch and step, both from 1."""
    tf.keras.backend.clear_session()
    training_state, networks = TrainingState(CheckpointStore(folder / "checkpoints")), []
    log = EpochLog(folder / "t.csv", training_state.table_rows())

    class Killer(tf.keras.callbacks.Callback):
        def on_train_batch_end(self, batch: int, logs: dict) -> None:
            if (log.epoch, batch + 1) == kill:
                raise KilledError

    with pytest.MonkeyPatch.context() as context:
        callbacks = trainer._callbacks
        context.setattr(trainer, "_callbacks", lambda *arguments: [*callbacks(*arguments), Killer()])
        for seed in range(1, ensemble_size + 1):
            networks.append(network(seed))
            trainer.fit(networks[-1], LOSS, schedule, training_data(seed=seed), log, training_state)
    log.write()
    values = [variable.numpy() for model in networks for variable in model.weights]
    return values + [variable.numpy() for variable in variables(networks[-1])], log.path.read_bytes()


def assert_same(one: Result, other: Result) -> None:
    assert all(np.array_equal(a, b) for a, b in zip(one[0], other[0], strict=True))
    assert one[1] == other[1]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Callable[..., Result]:
    """A function that returns the result of an undisturbed training with this schedule, trained once."""

    @functools.cache
    def trained(schedule: trainer.TrainingSchedule = SCHEDULE) -> Result:
        return train(tmp_path_factory.mktemp("undisturbed"), schedule)

    return trained


def train_and_kill(folder: Path, at: tuple[int, int], **options: object) -> None:
    with pytest.raises(KilledError):
        train(folder, kill=at, **options)


def test_variables_are_all_that_a_training_step_changes():
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = network(1)
        trainer.compile_network(model, SCHEDULE, LOSS)
        names = [variable.name.split(":")[0] for variable in variables(model)]
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    optimizer = model.optimizer
    expected = {*(weight.ref() for weight in (*model.weights, *optimizer.variables, optimizer.dynamic_counter))}
    assert expected <= {variable.ref() for variable in variables(model)}
    assert {"current_loss_scale", "dropout/StateVar"} <= set(names)


@pytest.mark.slow
def test_killed_training_ends_like_the_undisturbed_one(tmp_path, undisturbed):
    train_and_kill(tmp_path, (1, 2))
    train_and_kill(tmp_path, (2, 4))
    train_and_kill(tmp_path, (3, 1))
    assert_same(undisturbed(), train(tmp_path))


def test_training_resumes_after_the_last_checkpoint(tmp_path):
    train_and_kill(tmp_path, (3, 1))
    training_state = TrainingState(CheckpointStore(tmp_path / "checkpoints"))
    assert training_state.checkpoint.state["next_epoch"] == 2
    assert [row[0] for row in training_state.table_rows()] == ["epoch", 1, 2]


@pytest.mark.slow
def test_damaged_checkpoint_costs_an_epoch_and_changes_nothing(tmp_path, undisturbed):
    train_and_kill(tmp_path, (3, 2))
    newest = CheckpointStore(tmp_path / "checkpoints").files()[0]
    newest.write_bytes(newest.read_bytes()[:-100])
    assert_same(undisturbed(), train(tmp_path))


@pytest.mark.slow
def test_early_stopping_resumes_with_its_counters(tmp_path, undisturbed):
    rows = undisturbed(EARLY_STOPPING)[1].decode().count("\n") - 1
    assert rows < EARLY_STOPPING.epochs
    train_and_kill(tmp_path, (4, 2), schedule=EARLY_STOPPING)
    assert_same(undisturbed(EARLY_STOPPING), train(tmp_path, EARLY_STOPPING))


def test_training_that_had_ended_early_only_restores_its_best_weights(tmp_path, monkeypatch):
    ended = train(tmp_path, EARLY_STOPPING)
    monkeypatch.setattr(EpochLog, "on_epoch_begin", lambda *_: pytest.fail("an epoch more"))
    assert_same(ended, train(tmp_path, EARLY_STOPPING))


@pytest.mark.slow
def test_ensemble_resumes_with_the_member_that_was_stopped(tmp_path):
    train_and_kill(tmp_path / "killed", (4, 1), ensemble_size=2)  # as the second begins
    assert_same(train(tmp_path / "undisturbed", ensemble_size=2), train(tmp_path / "killed", ensemble_size=2))


@pytest.mark.slow
def test_float16_resumes_with_its_loss_scale(tmp_path):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        train_and_kill(tmp_path / "killed", (3, 1))
        assert_same(train(tmp_path / "undisturbed"), train(tmp_path / "killed"))
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


def test_nan_weights_are_not_saved(tmp_path, monkeypatch):
    def end_with_nan(log: EpochLog, epoch: int, logs: dict) -> None:
        on_epoch_end(log, epoch, logs)
        if epoch == 1:
            log.model.layers[-1].bias.assign([float("nan")])

    on_epoch_end = EpochLog.on_epoch_end
    monkeypatch.setattr(EpochLog, "on_epoch_end", end_with_nan)
    with pytest.raises(DivergenceError, match="a weight became NaN or infinite in epoch 2, step 4"):
        train(tmp_path)
    assert TrainingState(CheckpointStore(tmp_path / "checkpoints")).checkpoint.state["next_epoch"] == 1


def test_other_gpu_is_another_training(tmp_path, monkeypatch):
    """There is no GPU here: TensorFlow is made to report one."""
    details = {"device_name": "NVIDIA A100", "compute_capability": (8, 0)}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda device: details)
    folders = {open_training_state("ab", retention_days=1).store.folder for _ in range(2)}
    for change in ({"device_name": "NVIDIA H100"}, {"compute_capability": (9, 0)}):
        details |= change
        folders.add(open_training_state("ab", retention_days=1).store.folder)
    assert len(folders) == 3


@pytest.mark.parametrize("architecture", architectures.COMPACT_ARCHITECTURES)
def test_best_network_is_saved_when_training_diverges(tmp_path, architecture):
    tf.keras.backend.clear_session()
    model = architectures.build(architecture, "", None, (4, 8), 32)
    training_state, path = TrainingState(CheckpointStore(tmp_path)), tmp_path / "best.h5"
    message = save_best_network(DivergenceError("the loss became nan", model, 2, "the best of all"), training_state)
    assert message == f"the loss became nan; the network of epoch 2, the best of all, is kept as {path}"
    assert model_io.load(path).output_shape[-1] == 1
    pairs = zip(model_io.load(path).get_weights(), model.get_weights(), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert training_state.store.read_newest() is None  # it is no checkpoint
