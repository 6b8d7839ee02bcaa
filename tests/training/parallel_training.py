"""Trainings on several devices of one process, and in several processes; each has a process of its own."""

from pathlib import Path

from src.models import losses, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.training import multi_worker, trainer
from src.training.epoch_log import EpochLog
from tests.training.small_training import SCHEDULE, random_patches, small_network

ONE_STEP = SCHEDULE._replace(epochs=1, steps_per_epoch=1)


def fit(strategy: tf.distribute.Strategy, table: Path, loss: str, schedule: trainer.TrainingSchedule) -> None:
    """Train a small network under a strategy; every pixel is in the FOV, so that all replicas weigh the same."""
    patches = random_patches()
    patches = patches._replace(fov=patches.fov | True)
    with strategy.scope():
        data = trainer.TrainingData(patches, patches, 4, 1, strategy.num_replicas_in_sync)
        function = losses.get(loss, 0.25, 2.0, None, 0.7)
        trainer.fit(small_network(), function, schedule, data, EpochLog(table), None)


def train_on_one_and_on_two_devices(folder: Path) -> None:
    """Write one.csv, two.csv, and dice.csv of a step on two devices with a loss of sums."""
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    two = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    fit(tf.distribute.get_strategy(), folder / "one.csv", "bce", SCHEDULE)
    fit(two, folder / "two.csv", "bce", SCHEDULE)
    fit(two, folder / "dice.csv", "dice", ONE_STEP)


def train_as_worker(table: Path, workers: int) -> None:
    """Train as one of the workers of TF_CONFIG."""
    tensorflow_setup.configure(threads=1, seed=1)
    strategy = tensorflow_setup.distribution_strategy(multi_worker.read_cluster().workers)
    assert strategy.num_replicas_in_sync == workers
    fit(strategy, table, "bce", SCHEDULE)
