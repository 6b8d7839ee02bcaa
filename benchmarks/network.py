"""Print training pixels a second and seconds an image at prediction: python -m benchmarks.network [PARAMS].

The network is that of params.yaml, or of another file of parameters. Training is timed in float32 and in mixed
precision, which is faster on some processors and slower on others: so see before you set `train.mixed_precision`. The
compact network is timed as well, as it was before it was profiled (full resolution, float32) and as it is now (half
resolution, smaller batches).
"""

import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import trials
from src import backend, batches, losses, models, segment, training
from src.backend import tf
from src.params import Params, load_params
from src.patches import Patches
from src.predictor import Predictor, Views

STEPS, READS = 20, 200
SECONDS = 30  # after which no further step is begun: precision that a processor does not have takes minutes for 20
SHAPE = (584, 565, 3)  # of a DRIVE photograph
IMAGES = 5
FIRST_BATCH, BATCH = 4, 2  # patches a step of the compact network before it was profiled, and in the experiments


def random_batches(params: Params) -> tf.data.Dataset:
    """Training batches of random patches."""
    size = params.patch.size
    images = np.random.default_rng(1).integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    patches = Patches(images, images[..., 0] < 25, np.ones(images.shape[:3], bool))
    return batches.training(patches, params.train.batch_size, 1)


def pixels_read_a_second(params: Params) -> float:
    """The pixels that the input pipeline could feed in a second."""
    batch = iter(random_batches(params))
    next(batch)
    begin = time.perf_counter()
    for _ in range(READS):
        next(batch)
    return READS * params.train.batch_size * params.patch.size**2 / (time.perf_counter() - begin)


class Pace(tf.keras.callbacks.Callback):
    """Steps of training and the seconds that they took, SECONDS and a step at most."""

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin to count."""
        self.steps, self.begin = 0, time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Count a step."""
        self.steps, self.seconds = self.steps + 1, time.perf_counter() - self.begin
        self.model.stop_training = self.seconds > SECONDS


def with_compact(params: Params, batch_size: int) -> Params:
    """The same with the compact network, in batches of that size."""
    model = params.model.model_copy(update={"architecture": "residual_unet", "encoder_weights": None})
    return params.model_copy(
        update={"model": model, "train": params.train.model_copy(update={"batch_size": batch_size})}
    )


def built(params: Params) -> tf.keras.Model:
    """A member, untrained."""
    return models.build(**params.model.model_dump(), size=params.patch.size)


def pixels_a_second(make: Callable[[Params], tf.keras.Model], params: Params, mixed_precision: bool) -> float:
    """The pixels that a network trains on in a second, over a few steps on random patches after a warm-up."""
    tf.keras.backend.clear_session()
    train, size, data = params.train, params.patch.size, random_batches(params)
    backend.set_precision(mixed_precision)
    network = make(params)
    schedule = training.Schedule(1, STEPS, train.learning_rate, 0.0, False, train.clip_norm, train.monitor, None)
    loss = training.in_fov(losses.weighing_narrow(losses.get(**params.loss.model_dump()), train.narrow_weight))
    network.compile(optimizer=training.optimizer(schedule), loss=loss)
    pace = Pace()
    for steps in (2, STEPS):  # the first builds the graph
        network.fit(data, steps_per_epoch=steps, verbose=0, callbacks=[pace])
    return pace.steps * train.batch_size * size**2 / pace.seconds


def untrained(params: Params) -> tf.keras.Model:
    """The network of all members, in float32 as saved."""
    backend.set_precision(mixed_precision=False)
    return models.mean([models.final(built(params)) for _ in range(params.train.members)])


def seconds_an_image(model: tf.keras.Model, params: Params, flips: bool) -> float:
    """Seconds from a DRIVE-sized photograph to its map."""
    evaluate = params.evaluate
    views = Views(evaluate.tile, evaluate.overlap, flips, evaluate.batch_size, evaluate.scales)
    predictor = Predictor(models.forward(model), model.input_shape[1], views)
    photograph, fov = np.random.default_rng(1).integers(0, 256, SHAPE, dtype=np.uint8), np.ones(SHAPE[:2], bool)
    show = partial(segment.photograph, photograph, fov, predictor, max(SHAPE), clahe=0.0)
    show()  # builds the graph
    begin = time.perf_counter()
    for _ in range(IMAGES):
        show()
    return (time.perf_counter() - begin) / IMAGES


def cost(file: Path) -> dict[str, float]:
    """What the network of a params file costs: its weights, and seconds an image without and with flips."""
    params = load_params(file)
    backend.configure(params.train.threads)
    model = untrained(params)
    return {
        "weights": model.count_params(),
        "seconds_an_image": round(seconds_an_image(model, params, flips=False), 3),
        "seconds_an_image_flipped": round(seconds_an_image(model, params, flips=True), 3),
    }


def main() -> None:
    """Time training in both precisions, that of the compact network, then prediction with and without flips."""
    params = load_params(Path(sys.argv[1] if len(sys.argv) > 1 else "params.yaml"))
    backend.configure(params.train.threads, params.train.seed)
    print(f"input pipeline: {pixels_read_a_second(params) / 1000:.0f} thousand pixels a second")
    before, now = with_compact(params, FIRST_BATCH), with_compact(params, BATCH)
    ways = {
        "float32": (built, params, False),
        "mixed precision": (built, params, True),
        "compact network before it was profiled, float32": (trials.full_resolution, before, False),
        "compact network now, float32": (built, now, False),
        "compact network now, mixed precision": (built, now, True),
    }
    for name, way in ways.items():
        print(f"training, {name}: {pixels_a_second(*way) / 1000:.0f} thousand pixels a second")
    model = untrained(params)
    for flips, name in ((False, "no flips"), (True, "four flips")):
        seconds = seconds_an_image(model, params, flips)
        print(f"prediction, {name}, {params.train.members} member(s): {seconds:.3f} s an image of 565x584")


if __name__ == "__main__":
    main()
