import contextlib
import csv
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from src import backend, batches, losses, training
from src.backend import tf
from src.counts import count, scores
from src.patches import Patches

SCHEDULE = training.Schedule(
    epochs=3,
    steps_per_epoch=4,
    learning_rate=0.01,
    warmup=0.0,
    cosine=True,
    clip_norm=1.0,
    monitor="f1",
    patience=None,
)
LOSS = losses.get("focal_dice", 0.25, 2.0, None, 0.7)


def drawn(number: int = 6, side: int = 16) -> Patches:
    rng = np.random.default_rng(1)
    truth = rng.random((number, side, side)) < 0.3
    images = np.where(truth[..., None], 60, 180) + rng.integers(-20, 20, (number, side, side, 3))
    return Patches(images.astype(np.uint8), truth, rng.random(truth.shape) < 0.8)


def data(batch_size: int = 2, seed: int = 1) -> training.Data:
    return training.Data(drawn(), drawn(), batch_size, seed)


def small_network() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(1)
    layers = [
        tf.keras.layers.Rescaling(1 / 36, -128 / 36, input_shape=(None, None, 3)),
        tf.keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        tf.keras.layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    return tf.keras.Sequential(layers)


def fitted(table: Path, schedule: training.Schedule = SCHEDULE) -> tf.keras.Model:
    model = small_network()
    training.fit(model, LOSS, schedule, data(), training.EpochLog(table), None)
    return model


def read(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def test_loss_falls_and_every_epoch_has_a_row(tmp_path):
    fitted(tmp_path / "t.csv", SCHEDULE._replace(epochs=8))
    rows = read(tmp_path / "t.csv")
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    assert rows[-1]["validation_loss"] < rows[0]["validation_loss"]
    assert {"accuracy", "f1", "iou", "mcc", "precision", "recall", "specificity"} <= set(rows[0])


def test_training_without_validation_leaves_its_cells_empty(tmp_path):
    log = training.EpochLog(tmp_path / "t.csv")
    training.fit(small_network(), LOSS, SCHEDULE, data()._replace(validation=None), log, None)
    with (tmp_path / "t.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == SCHEDULE.epochs
    for row in rows:
        assert float(row["f1"]) >= 0
        assert {row[f"validation_{name}"] for name in training.COLUMNS} == {""}


def test_loss_is_summed_over_the_answers():
    rng = np.random.default_rng(1)
    target = tf.constant(rng.random((2, 8, 8, 2)) < 0.5, tf.float32)
    first, second = (tf.constant(rng.random((2, 8, 8, 1)), tf.float32) for _ in range(2))
    loss = training.in_fov(LOSS)
    both = float(loss(target, tf.concat([first, second], axis=-1)))
    assert both == pytest.approx(float(loss(target, first)) + float(loss(target, second)), rel=1e-6)


def test_same_seed_gives_the_same_weights(tmp_path):
    one, other = (fitted(tmp_path / "t.csv").get_weights() for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_validation_scores_are_those_of_the_maps_in_the_fov(tmp_path):
    model, patches = fitted(tmp_path / "t.csv"), drawn()
    predicted = model(patches.images.astype(np.float32)).numpy()[..., 0] > 0.5
    expected = scores(count(patches.truth, predicted, patches.fov))
    last = read(tmp_path / "t.csv")[-1]
    for name in ("accuracy", "f1", "mcc", "precision", "recall", "specificity"):
        assert last[f"validation_{name}"] == pytest.approx(expected[name], abs=2e-6)
    assert last["validation_iou"] == pytest.approx(expected["iou_mean"], abs=2e-6)


def test_learning_rate_warms_up_then_decays():
    rate = training.optimizer(SCHEDULE._replace(epochs=10, steps_per_epoch=10, warmup=0.1))._learning_rate
    assert float(rate(0)) == 0.0
    assert float(rate(10)) == pytest.approx(0.01)
    assert float(rate(55)) == pytest.approx(0.005)
    assert float(rate(100)) == pytest.approx(0.0, abs=1e-9)


def test_constant_rate_stays():
    rate = training.optimizer(SCHEDULE._replace(cosine=False))._learning_rate
    assert [float(rate(step)) for step in (0, 5, 12)] == pytest.approx([0.01] * 3)


def test_patience_restores_the_best_weights(tmp_path):
    worse = SCHEDULE._replace(epochs=30, learning_rate=3.0, cosine=False, clip_norm=None, monitor="loss", patience=3)
    model = fitted(tmp_path / "t.csv", worse)
    rows = read(tmp_path / "t.csv")
    best = min(range(len(rows)), key=lambda i: rows[i]["validation_loss"])
    assert len(rows) == best + 1 + 3
    patches = drawn()
    probability = model(patches.images.astype(np.float32)).numpy()[..., 0]
    predicted = scores(count(patches.truth, probability > 0.5, patches.fov))
    assert predicted["accuracy"] == pytest.approx(rows[best]["validation_accuracy"], abs=2e-6)


def test_loss_that_is_no_number_stops_with_one_sentence(tmp_path):
    def broken(truth, probability, weight):
        return LOSS(truth, probability, weight) * float("nan")

    with pytest.raises(ValueError, match="the loss became nan in epoch 1, step 1"):
        training.fit(small_network(), broken, SCHEDULE, data(), training.EpochLog(tmp_path / "t.csv"), None)


def test_table_is_written_as_training_goes(tmp_path, monkeypatch):
    table, lengths = tmp_path / "t.csv", []

    def watched(log: training.EpochLog) -> None:
        write(log)
        lengths.append(len(read(table)))

    write = training.EpochLog.write
    monkeypatch.setattr(training.EpochLog, "write", watched)
    fitted(table)
    assert lengths == [1, 2, 3]


def test_epochs_are_counted_on_through_the_members(tmp_path):
    log = training.EpochLog(tmp_path / "t.csv")
    for seed in (1, 2):
        training.fit(small_network(), LOSS, SCHEDULE, data(seed=seed), log, None)
    rows = read(tmp_path / "t.csv")
    assert [row["epoch"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[2]["learning_rate"] == rows[5]["learning_rate"] < rows[3]["learning_rate"]


def test_full_disk_during_an_epoch_does_not_lose_the_training(tmp_path, monkeypatch, capsys):
    written, write = [], training.files.write_rows

    def full_at_first(path, rows):
        written.append(path)
        if len(written) == 1:
            raise OSError(28, "No space left on device", str(path))
        write(path, rows)

    monkeypatch.setattr(training.files, "write_rows", full_at_first)
    fitted(tmp_path / "t.csv")
    assert len(read(tmp_path / "t.csv")) == 3
    assert "row of epoch 1 is not written yet" in capsys.readouterr().err


def test_one_device_needs_no_strategy():
    assert backend.strategy().num_replicas_in_sync == 1


@pytest.mark.parametrize(("gpus", "said"), [([], "the CPU"), (["one"], "a GPU"), (["one", "two"], "2 GPUs")])
def test_determinism_is_asked_for_where_tensorflow_has_it(gpus, said, monkeypatch):
    """On a GPU the gradient of nearest-neighbour upsampling would be refused, and with it every training."""
    asked = []
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus)
    for owner, name in (
        (tf.config.experimental, "enable_tensor_float_32_execution"),
        (tf.config.experimental, "enable_op_determinism"),
        (tf.config.threading, "set_intra_op_parallelism_threads"),
        (tf.config.threading, "set_inter_op_parallelism_threads"),
    ):
        monkeypatch.setattr(owner, name, lambda *given, name=name: asked.append((name, *given)))
    backend.configure(threads=3)
    of_cpu = [("set_intra_op_parallelism_threads", 3), ("set_inter_op_parallelism_threads", 3)]
    assert asked == ([("enable_tensor_float_32_execution", False)] if gpus else [*of_cpu, ("enable_op_determinism",)])
    assert backend.described() == f"{said} in float32"


@pytest.mark.parametrize(
    ("policy", "processor", "slow"),
    [
        ("mixed_bfloat16", ["x86_64", "flags\t: fpu avx2 avx512f", "model name\t: any"], True),
        ("mixed_bfloat16", ["x86_64", "flags\t: fpu avx2 avx512_bf16 erms"], False),
        ("mixed_bfloat16", ["aarch64", "Features\t: fp asimd bf16"], False),
        ("mixed_bfloat16", ["arm64"], False),
        ("float32", ["x86_64", "flags\t: fpu avx2"], False),
    ],
)
def test_bfloat16_that_a_processor_does_not_have_is_seen(policy, processor, slow):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
        assert backend.emulates_bfloat16(processor) == slow
    finally:
        tf.keras.mixed_precision.set_global_policy(before)


TWO_REPLICAS = """
import sys
from pathlib import Path
from src import backend, losses, training
from src.backend import tf
from tests.test_training import SCHEDULE, drawn, small_network

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategies = {"one": tf.distribute.get_strategy(), "two": tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])}
patches = drawn()
patches = patches._replace(fov=patches.fov | True)  # replicas weigh alike where they see as many pixels
for name, strategy in strategies.items():
    with strategy.scope():
        model = small_network()
        log = training.EpochLog(Path(sys.argv[1]) / f"{name}.csv")
        data = training.Data(patches, patches, 4, 1, strategy.num_replicas_in_sync)
        training.fit(model, losses.get("bce", 0.25, 2.0, None, 0.7), SCHEDULE, data, log, None)

with strategy.scope():
    log = training.EpochLog(Path(sys.argv[1]) / "dice.csv")
    once = SCHEDULE._replace(epochs=1, steps_per_epoch=1)
    training.fit(small_network(), losses.get("dice", 0.25, 2.0, None, 0.7), once, data, log, None)
"""


def test_two_replicas_learn_what_one_does(tmp_path):
    subprocess.run([sys.executable, "-c", TWO_REPLICAS, str(tmp_path)], check=True, capture_output=True, text=True)
    one, two = read(tmp_path / "one.csv"), read(tmp_path / "two.csv")
    assert one[0]["loss"] != one[-1]["loss"]
    for mine, theirs in zip(one, two, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    # A loss of sums is that of each replica's half of the batch, not that of the whole.
    images, target = next(iter(batches.training(drawn(), 4, 1)))
    truth, probability = target[..., 0], small_network()(images)[..., 0]
    whole, first, second = (
        float(losses.dice_loss(truth[part], probability[part], tf.ones_like(truth[part])))
        for part in (slice(4), slice(2), slice(2, 4))
    )
    halves = (first + second) / 2
    assert read(tmp_path / "dice.csv")[0]["loss"] == pytest.approx(halves, abs=1e-5)
    assert abs(whole - halves) > 1e-4


TWO_WORKERS = """
import sys
from pathlib import Path
from src import backend, cluster

backend.configure(threads=1, seed=1)
strategy = backend.strategy(cluster.read().workers)
from src import losses, training
from tests.test_training import SCHEDULE, drawn, small_network

assert strategy.num_replicas_in_sync == int(sys.argv[2])
patches = drawn()
patches = patches._replace(fov=patches.fov | True)
with strategy.scope():
    model = small_network()
    log = training.EpochLog(Path(sys.argv[1]))
    data = training.Data(patches, patches, 4, 1, strategy.num_replicas_in_sync)
    training.fit(model, losses.get("bce", 0.25, 2.0, None, 0.7), SCHEDULE, data, log, None)
"""


def worker(table: Path, ports: list[int], index: int) -> subprocess.Popen:
    command = [sys.executable, "-c", TWO_WORKERS, str(table), str(len(ports))]
    environment = os.environ | {"TF_CONFIG": config(ports, index)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def config(ports: list[int], index: int) -> str:
    """TF_CONFIG of one of the workers at these ports of this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def test_two_workers_learn_what_one_does(tmp_path):
    tables = {}
    for name, ports in (("one", free_ports(1)), ("two", free_ports(2))):
        tables[name] = [tmp_path / f"{name}_{index}.csv" for index in range(len(ports))]
        processes = [worker(table, ports, index) for index, table in enumerate(tables[name])]
        try:
            for process in processes:
                output = process.communicate(timeout=300)[0]
                assert process.returncode == 0, output.decode()
        finally:
            for process in processes:
                process.kill()
    (alone,), (first, second) = (map(read, found) for found in tables.values())
    assert first == second
    for mine, theirs in zip(alone, first, strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
