"""Batches of patches for training and validation, read by memory map."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice

import numpy as np

from src.models.tensorflow_setup import tf
from src.preprocessing.patch_storage import Patches

Batch = tuple[np.ndarray, np.ndarray]
CROPS = 1  # second part of the seed of random crops; the order of patches has the number of the pass there


def shuffled_order(n_patches: int, seed: int, start: int = 0) -> Iterator[int]:
    """Yield patch indices without end, pass after pass, each pass shuffled by (seed, number of the pass).

    The first `start` indices are skipped at no cost.
    """
    pass_number, skipped = divmod(start, n_patches)
    while True:
        yield from np.random.default_rng([seed, pass_number]).permutation(n_patches)[skipped:]
        pass_number, skipped = pass_number + 1, 0


def batch_indices(n_patches: int, batch_size: int, seed: int, step: int = 0) -> Iterator[np.ndarray]:
    """Yield the sorted patch indices of each training batch without end, from that of `step` (from 0) on."""
    indices = shuffled_order(n_patches, seed, step * batch_size)
    while True:
        yield np.sort(np.fromiter(islice(indices, batch_size), int))


def _read_batch(patches: Patches, indices: np.ndarray) -> Batch:
    """Read images (B, S, S, 3) and targets (B, S, S, 2) of truth and fov, uint8."""
    target = np.stack([patches.truth[indices], patches.fov[indices]], axis=-1).astype(np.uint8)
    return patches.images[indices], target


def _random_crops(patches: Patches, indices: np.ndarray, size: int, rng: np.random.Generator) -> Batch:
    """Read a crop of each patch, flipped and rotated by 90 degrees at random; shapes as of `_read_batch`, S = size."""
    images = np.empty((len(indices), size, size, 3), np.uint8)
    targets = np.empty((len(indices), size, size, 2), np.uint8)
    for number, index in enumerate(indices):
        row, column = rng.integers(0, patches.images.shape[1] - size + 1, 2)
        place = np.s_[index, row : row + size, column : column + size]
        rotations, step = int(rng.integers(4)), int(rng.choice([1, -1]))
        images[number] = np.rot90(patches.images[place], rotations)[:, ::step]
        target = np.stack([patches.truth[place], patches.fov[place]], axis=-1)
        targets[number] = np.rot90(target, rotations)[:, ::step]
    return images, targets


def _dataset(batches: Callable[[], Iterable[Batch]], side: int) -> tf.data.Dataset:
    signature = (
        tf.TensorSpec((None, side, side, 3), tf.uint8),
        tf.TensorSpec((None, side, side, 2), tf.uint8),
    )
    as_uint8 = tf.data.Dataset.from_generator(batches, output_signature=signature)
    as_float32 = as_uint8.map(lambda image, target: (tf.cast(image, tf.float32), tf.cast(target, tf.float32)))
    options = tf.data.Options()
    # Every worker reads the same batches and trains on its part of each.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # The thread of autotuning sleeps for up to a minute, and whoever deletes the iterator (once a fit and an epoch)
    # waits until it wakes.
    options.autotune.enabled = False
    return as_float32.prefetch(2).with_options(options)


def training_dataset(
    patches: Patches, batch_size: int, seed: int, replicas: int = 1, step: int = 0, crop_size: int | None = None
) -> tf.data.Dataset:
    """Make endless shuffled batches: image (B, S, S, 3) float32 in 0..255, target (B, S, S, 2) of truth and fov.

    They begin with the batch of `step`, as if those before it had been read. With a `crop_size` of S pixels, each is a
    random crop of a patch, flipped and rotated by 90 degrees at random, another one each time the patch is read.

    Raises:
        ValueError: the batch size is no multiple of the number of replicas, or the crop is larger than a patch.
    """
    if batch_size % replicas:
        raise ValueError(f"train.batch_size: expected a multiple of the {replicas} replicas, got {batch_size}")
    side = patches.images.shape[1]
    if crop_size is None:
        order = partial(batch_indices, len(patches.images), batch_size, seed, step)
        return _dataset(lambda: (_read_batch(patches, indices) for indices in order()), side)
    if crop_size > side:
        raise ValueError(f"train.crop_size: expected at most the {side} pixels of a patch, got {crop_size}")

    def batches() -> Iterator[Batch]:
        for number, indices in enumerate(batch_indices(len(patches.images), batch_size, seed, step), step):
            yield _random_crops(patches, indices, crop_size, np.random.default_rng([seed, CROPS, number]))

    return _dataset(batches, crop_size)


def validation_dataset(patches: Patches, batch_size: int, replicas: int = 1) -> tf.data.Dataset:
    """Make batches like those of `training_dataset` of all patches once, in order; it can be iterated again.

    Networks cannot process an empty batch, so that the last batch is larger where a remainder would leave a replica
    without a patch. Each replica gets ceil(B / replicas) patches and the last the rest, which is not empty if
    B >= replicas^2.

    Raises:
        ValueError: fewer than replicas^2 patches.
    """
    indices, least = np.arange(len(patches.images)), replicas**2
    if len(indices) < least:
        raise ValueError(f"expected at least {least} validation patches for {replicas} replicas, got {len(indices)}")
    parts = np.split(indices, range(batch_size, len(indices) - least + 1, batch_size))
    return _dataset(lambda: (_read_batch(patches, part) for part in parts), patches.images.shape[1])
