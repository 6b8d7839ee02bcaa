"""A training of seconds, shared by the tests of this package."""

import contextlib
import json
import socket

import numpy as np

from src.models import losses
from src.models.tensorflow_setup import tf
from src.preprocessing.patch_storage import Patches
from src.training import trainer

SCHEDULE = trainer.TrainingSchedule(
    epochs=3,
    steps_per_epoch=4,
    learning_rate=0.01,
    warmup_fraction=0.0,
    cosine=True,
    clip_norm=1.0,
    monitor="f1",
    patience=None,
)
LOSS = losses.get("focal_dice", 0.25, 2.0, None, 0.7)


def random_patches(number: int = 6, side: int = 16) -> Patches:
    """Patches whose vessel pixels are darker."""
    rng = np.random.default_rng(1)
    truth = rng.random((number, side, side)) < 0.3
    images = np.where(truth[..., None], 60, 180) + rng.integers(-20, 20, (number, side, side, 3))
    return Patches(images.astype(np.uint8), truth, rng.random(truth.shape) < 0.8)


def training_data(batch_size: int = 2, seed: int = 1) -> trainer.TrainingData:
    """The patches for training and validation alike."""
    return trainer.TrainingData(random_patches(), random_patches(), batch_size, seed)


def small_network() -> tf.keras.Model:
    """Two convolutions, the same weights every time."""
    tf.keras.utils.set_random_seed(1)
    layers = [
        tf.keras.layers.Rescaling(1 / 36, -128 / 36, input_shape=(None, None, 3)),
        tf.keras.layers.Conv2D(4, 3, padding="same", activation="relu"),
        tf.keras.layers.Conv2D(1, 1, activation="sigmoid"),
    ]
    return tf.keras.Sequential(layers)


def tf_config(ports: list[int], index: int) -> str:
    """TF_CONFIG of one of the workers at these ports of this machine."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    return json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})


def free_ports(number: int) -> list[int]:
    """So many ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
