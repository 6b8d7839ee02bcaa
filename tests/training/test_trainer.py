import csv
from pathlib import Path

import numpy as np
import pytest

from src.metrics.confusion_matrix import count, scores
from src.models.tensorflow_setup import tf
from src.training import epoch_log, trainer
from src.training.epoch_log import EpochLog
from tests.training.small_training import LOSS, SCHEDULE, random_patches, small_network, training_data


def fit_small_network(table: Path, schedule: trainer.TrainingSchedule = SCHEDULE) -> tf.keras.Model:
    model = small_network()
    trainer.fit(model, LOSS, schedule, training_data(), EpochLog(table), None)
    return model


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> tuple[tf.keras.Model, Path]:
    """A fitted network and the table of its training."""
    table = tmp_path_factory.mktemp("fitted") / "t.csv"
    return fit_small_network(table), table


def read(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_loss_falls_and_every_epoch_has_a_row(tmp_path):
    fit_small_network(tmp_path / "t.csv", SCHEDULE._replace(epochs=8))
    rows = read(tmp_path / "t.csv")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert {"accuracy", "f1", "iou_mean", "mcc", "precision", "recall", "specificity"} <= set(rows[0])


def test_network_is_traced_once_for_training_and_once_for_validation(tmp_path):
    traced = []

    def loss(*arguments):
        traced.append(arguments)
        return LOSS(*arguments)

    trainer.fit(small_network(), loss, SCHEDULE, training_data(), EpochLog(tmp_path / "t.csv"), None)
    assert len(traced) == 2


def test_training_without_validation_leaves_its_cells_empty(tmp_path):
    log = EpochLog(tmp_path / "t.csv")
    trainer.fit(small_network(), LOSS, SCHEDULE, training_data()._replace(validation=None), log, None)
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SCHEDULE.epochs
    for row in rows:
        assert float(row["f1"]) >= 0
        assert {row[f"validation_{name}"] for name in epoch_log.COLUMNS} == {""}


def test_loss_is_summed_over_the_outputs():
    rng = np.random.default_rng(1)
    target = tf.constant(rng.random((2, 8, 8, 2)) < 0.5, tf.float32)
    first, second = (tf.constant(rng.random((2, 8, 8, 1)), tf.float32) for _ in range(2))
    loss = trainer.fov_weighted_loss(LOSS)
    both = float(loss(target, tf.concat([first, second], axis=-1)))
    assert both == pytest.approx(float(loss(target, first)) + float(loss(target, second)), rel=1e-6)


def test_same_seed_gives_the_same_weights(tmp_path, fitted):
    one, other = fitted[0].get_weights(), fit_small_network(tmp_path / "t.csv").get_weights()
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_validation_scores_are_those_of_the_maps_in_the_fov(fitted):
    (model, table), patches = fitted, random_patches()
    predicted = model(patches.images.astype(np.float32)).numpy()[..., 0] > 0.5
    expected = scores(count(patches.truth, predicted, patches.fov))
    last = read(table)[-1]
    for name in ("accuracy", "f1", "mcc", "precision", "recall", "specificity", "iou_mean"):
        assert last[f"validation_{name}"] == pytest.approx(expected[name], abs=2e-6)


def test_learning_rate_warms_up_then_decays():
    schedule = SCHEDULE._replace(epochs=10, steps_per_epoch=10, warmup_fraction=0.1)
    learning_rate = trainer.optimizer(schedule)._learning_rate
    assert float(learning_rate(0)) == 0.0
    assert float(learning_rate(10)) == pytest.approx(0.01)
    assert float(learning_rate(55)) == pytest.approx(0.005)
    assert float(learning_rate(100)) == pytest.approx(0.0, abs=1e-9)


def test_constant_learning_rate_stays():
    learning_rate = trainer.optimizer(SCHEDULE._replace(cosine=False))._learning_rate
    assert [float(learning_rate(step)) for step in (0, 5, 12)] == pytest.approx([0.01] * 3)


def test_patience_restores_the_best_weights(tmp_path):
    worse = SCHEDULE._replace(epochs=30, learning_rate=3.0, cosine=False, clip_norm=None, monitor="loss", patience=3)
    model = fit_small_network(tmp_path / "t.csv", worse)
    rows = read(tmp_path / "t.csv")
    best = min(range(len(rows)), key=lambda i: rows[i]["validation_loss"])
    assert len(rows) == best + 1 + 3
    patches = random_patches()
    probability = model(patches.images.astype(np.float32)).numpy()[..., 0]
    found = scores(count(patches.truth, probability > 0.5, patches.fov))
    assert found["accuracy"] == pytest.approx(rows[best]["validation_accuracy"], abs=2e-6)


def test_table_is_written_after_each_epoch(tmp_path, monkeypatch):
    table, lengths = tmp_path / "t.csv", []

    def write_and_read(log: EpochLog) -> None:
        write(log)
        lengths.append(len(read(table)))

    write = EpochLog.write
    monkeypatch.setattr(EpochLog, "write", write_and_read)
    fit_small_network(table)
    assert lengths == [1, 2, 3]


def test_epochs_are_counted_through_the_members(tmp_path):
    log = EpochLog(tmp_path / "t.csv")
    for seed in (1, 2):
        trainer.fit(small_network(), LOSS, SCHEDULE, training_data(seed=seed), log, None)
    rows = read(tmp_path / "t.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2]["learning_rate"] == rows[5]["learning_rate"] < rows[3]["learning_rate"]


@pytest.mark.slow
def test_full_disk_during_an_epoch_does_not_lose_the_training(tmp_path, monkeypatch, capsys):
    written, write = [], epoch_log.atomic_io.write_rows

    def full_at_first(path, rows):
        written.append(path)
        if len(written) == 1:
            raise OSError(28, "No space left on device", str(path))
        write(path, rows)

    monkeypatch.setattr(epoch_log.atomic_io, "write_rows", full_at_first)
    fit_small_network(tmp_path / "t.csv")
    assert len(read(tmp_path / "t.csv")) == 3
    assert "row of epoch 1 is not written yet" in capsys.readouterr().err
