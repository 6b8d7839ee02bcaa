"""Measure training throughput and inference time: python -m benchmarks.training_throughput [PARAMS].

The network is that of params.yaml, or of another file of parameters. Training is timed in float32 and in mixed
precision, which is faster on some processors and slower on others: see before you set `train.mixed_precision`. The
compact U-Net is timed as well, at full resolution in float32 and as it is now (half resolution, smaller batches).
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.result_writer import ResultWriter
from experiments.trial_networks import full_resolution_unet
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.inference import segmentation
from src.models import architectures, losses, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Params, load_params
from src.preprocessing.patch_storage import Patches
from src.training import data_loader, trainer
from stages.evaluate import make_predictor
from stages.train import skeleton_recall_weights

STEPS, BATCHES_READ = 20, 200
MAX_SECONDS = 30  # after which no step starts: emulated bfloat16 takes minutes for 20
SHAPE = (584, 565, 3)  # of a DRIVE image
IMAGES = 5
FULL_RESOLUTION_BATCH, BATCH = 4, 2  # patches a step of the compact U-Net
COLUMNS = ("network", "batch_size", "precision", "megapixels_per_second")


class Setting(NamedTuple):
    """A network, its parameters, and whether it is trained in mixed precision."""

    network: str
    build: Callable[[Params], tf.keras.Model]
    params: Params
    mixed_precision: bool


class Throughput(tf.keras.callbacks.Callback):
    """Count steps of training and their seconds; stop after MAX_SECONDS."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start to count."""
        self.steps, self.begin = 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count a step."""
        self.steps, self.seconds = self.steps + 1, time.perf_counter() - self.begin
        self.model.stop_training = self.seconds > MAX_SECONDS


def patch_side(params: Params) -> int:
    """Return the side in pixels of what a network is trained on: a patch, or a random crop of it."""
    return params.train.crop_size or params.patch.size


def random_batches(params: Params) -> tf.data.Dataset:
    """Return training batches of random patches."""
    size = params.patch.size
    images = np.random.default_rng(1).integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    patches = Patches(images, images[..., 0] < 25, np.ones(images.shape[:3], bool))
    return data_loader.training_dataset(patches, params.train.batch_size, 1, crop_size=params.train.crop_size)


def pixels_read_per_second(params: Params) -> float:
    """Measure how many pixels the input pipeline can feed in a second."""
    batch = iter(random_batches(params))
    next(batch)
    begin = time.perf_counter()
    for _ in range(BATCHES_READ):
        next(batch)
    return BATCHES_READ * params.train.batch_size * patch_side(params) ** 2 / (time.perf_counter() - begin)


def build_member(params: Params) -> tf.keras.Model:
    """Build an untrained network, one member of an ensemble."""
    return architectures.build(**params.model.model_dump(), size=patch_side(params))


def pixels_trained_per_second(setting: Setting) -> float:
    """Measure how many pixels a network trains on in a second, on random patches after a warm-up."""
    tf.keras.backend.clear_session()
    params = setting.params
    train, data = params.train, random_batches(params)
    tensorflow_setup.set_precision(setting.mixed_precision)
    network = setting.build(params)
    schedule = trainer.TrainingSchedule(1, STEPS, train.learning_rate, 0.0, False, train.clip_norm, train.monitor, None)
    loss = losses.weight_thin_vessels(losses.get(**params.loss.model_dump()), train.thin_vessel_weight)
    loss = losses.add_skeleton_recall(loss, max(skeleton_recall_weights(train)))
    trainer.compile_network(network, schedule, trainer.fov_weighted_loss(loss))
    throughput = Throughput()
    for steps in (2, STEPS):  # the first builds the graph
        network.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[throughput])
    return throughput.steps * train.batch_size * patch_side(params) ** 2 / throughput.seconds


def untrained_network(params: Params) -> tf.keras.Model:
    """Build the network of all members, untrained, in float32 as it is saved."""
    tensorflow_setup.set_precision(mixed_precision=False)
    members = [architectures.inference_head(build_member(params)) for _ in range(params.train.ensemble_size)]
    return architectures.ensemble_average(members)


def seconds_per_image(model: tf.keras.Model, params: Params, tta_flips: bool) -> float:
    """Measure the inference time of an image of DRIVE's size, shown at `preprocess.fov_diameter`."""
    predictor = make_predictor(model, params.evaluate.model_copy(update={"tta_flips": tta_flips}))
    image, fov = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8), np.ones(SHAPE[:2], bool)
    diameter = round(max(SHAPE) * params.preprocess.fov_diameter / REFERENCE_FOV_DIAMETER)
    predict = partial(segmentation.segment_image, image, fov, predictor, diameter, clahe_clip_limit=0.0)
    predict()  # builds the graph
    begin = time.perf_counter()
    for _ in range(IMAGES):
        predict()
    return (time.perf_counter() - begin) / IMAGES


def measure_cost(file: Path) -> dict[str, float]:
    """Measure what the network of a params file costs: weights, and seconds per image without and with flips."""
    params = load_params(file)
    tensorflow_setup.configure(params.train.cpu_threads)
    model = untrained_network(params)
    return {
        "weights": model.count_params(),
        "seconds_per_image": round(seconds_per_image(model, params, tta_flips=False), 3),
        "seconds_per_image_flips": round(seconds_per_image(model, params, tta_flips=True), 3),
    }


def settings(params: Params) -> list[Setting]:
    """List what is trained: the network of the parameters, and the compact U-Net."""
    model = params.model.model_copy(update={"architecture": "residual_unet", "encoder_weights": None})
    full, half = (
        params.model_copy(update={"model": model, "train": params.train.model_copy(update={"batch_size": batch_size})})
        for batch_size in (FULL_RESOLUTION_BATCH, BATCH)
    )
    precisions = (False, True) if tensorflow_setup.supports_mixed_precision() else (False,)
    return [
        *(Setting(params.model.architecture, build_member, params, mixed) for mixed in precisions),
        Setting("compact U-Net, full resolution", full_resolution_unet, full, False),
        *(Setting("compact U-Net, half resolution", build_member, half, mixed) for mixed in precisions),
    ]


def main() -> None:
    """Time the input pipeline, training in both precisions, and inference with and without flips."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training_throughput", description=__doc__.splitlines()[0]
    )
    parser.add_argument("params", nargs="?", type=Path, default=Path("params.yaml"))
    parser.add_argument("--results", type=Path, help="CSV to write")
    arguments = parser.parse_args()
    params = load_params(arguments.params)
    tensorflow_setup.configure(params.train.cpu_threads, params.train.seed)
    print(f"input pipeline: {pixels_read_per_second(params) / 1e6:.2f} megapixels a second")
    writer = ResultWriter(arguments.results, COLUMNS)
    for setting in settings(params):
        writer.add(
            network=setting.network,
            batch_size=setting.params.train.batch_size,
            precision="bfloat16" if setting.mixed_precision else "float32",
            megapixels_per_second=pixels_trained_per_second(setting) / 1e6,
        )
    model = untrained_network(params)
    for flips in (False, True):
        seconds = seconds_per_image(model, params, flips)
        print(f"inference {'with' if flips else 'without'} flips: {seconds:.3f} s per image of 565x584")


if __name__ == "__main__":
    main()
