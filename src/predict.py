"""A whole prepared image through the network: its probability map."""

import numpy as np

from src import patches
from src.backend import tf

STEP = 32  # the networks halve an image five times
FLIPS = ((), (0,), (1,), (0, 1))  # the axes turned over


class Predictor:
    """A network, ready to map prepared images of any size to probabilities.

    An image is predicted whole where its sides are at most `tile` pixels, else in tiles that overlap by
    `overlap` pixels, at most half of them, and are blended smoothly. With `flips`, the mean over the four flips of
    each is taken. `batch_size` flips are predicted at once.
    """

    def __init__(self, model: tf.keras.Model, tile: int, overlap: int, flips: bool, batch_size: int) -> None:
        """Take the network; one with an input of fixed size takes tiles of that size."""
        self.whole = model.input_shape[1] is None
        self.tile = tile if self.whole else model.input_shape[1]
        self.stride = self.tile - min(overlap, self.tile // 2)
        self.flips = FLIPS if flips else FLIPS[:1]
        self.batch_size = batch_size
        self.forward = tf.function(lambda images: model(images, training=False), autograph=False, reduce_retracing=True)

    def probability(self, image: np.ndarray) -> np.ndarray:
        """Probability of vessel, (H, W) float32 in [0, 1], for an (H, W, 3) uint8 prepared image."""
        height, width = image.shape[:2]
        if self.whole and max(height, width) <= self.tile:
            padding = ((0, -height % STEP), (0, -width % STEP), (0, 0))
            return self._mean(np.pad(image, padding, constant_values=patches.NEUTRAL))[:height, :width]
        stitcher = patches.Stitcher((height, width), self.tile)
        for corner in patches.positions((height, width), self.tile, self.stride):
            stitcher.add(self._mean(patches.cut(image, corner, self.tile)), corner)
        return stitcher.result()

    def _mean(self, image: np.ndarray) -> np.ndarray:
        """Probability (h, w) of an image whose sides the network takes, mean over its flips."""
        total = np.zeros(image.shape[:2], np.float32)
        for begin in range(0, len(self.flips), self.batch_size):
            flips = self.flips[begin : begin + self.batch_size]
            batch = np.stack([np.flip(image, axes) for axes in flips]).astype(np.float32)
            for axes, probability in zip(flips, self.forward(tf.constant(batch)).numpy(), strict=True):
                total += np.flip(probability[..., 0], axes)
        return total / len(self.flips)
