"""Print training pixels a second, and seconds an image at prediction, of the network in params.yaml."""

import time

import numpy as np

from src import backend, batches, losses, models, predict, training
from src.params import load_params
from src.patches import Patches

STEPS = 10
SHAPE = (584, 565, 3)  # of a DRIVE photograph
IMAGES = 5


def main() -> None:
    """Time a few steps on random patches after a warm-up, then a few photographs with and without flips."""
    params = load_params()
    train, size = params.train, params.patch.size
    backend.configure(train.threads, train.seed, train.mixed_precision)
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (16, size, size, 3), dtype=np.uint8)
    patches = Patches(images, images[..., 0] < 25, np.ones(images.shape[:3], bool))
    network = models.build(**params.model.model_dump(), size=size)
    schedule = training.Schedule(1, STEPS, train.learning_rate, 0.0, False, train.clip_norm)
    loss = training.in_fov(losses.get(**params.loss.model_dump()))
    network.compile(optimizer=training.optimizer(schedule), loss=loss)
    for steps in (2, STEPS):  # the first builds the graph
        begin = time.perf_counter()
        network.fit(batches.training(patches, train.batch_size, 1), steps_per_epoch=steps, verbose=0)
    rate = STEPS * train.batch_size * size**2 / (time.perf_counter() - begin)
    print(f"training: {rate / 1000:.0f} thousand pixels a second")

    photograph = rng.integers(0, 256, SHAPE, dtype=np.uint8)
    for flips in (False, True):
        predictor = predict.Predictor(models.in_float32(network), params.evaluate.tile, 0, flips, 4)
        predictor.probability(photograph)
        begin = time.perf_counter()
        for _ in range(IMAGES):
            predictor.probability(photograph)
        seconds = (time.perf_counter() - begin) / IMAGES
        print(f"prediction, {'four flips' if flips else 'no flips'}: {seconds:.2f} s an image of 565x584")


if __name__ == "__main__":
    main()
