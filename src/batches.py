"""Batches of patches for training and validation, read by memory map."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from src.backend import tf
from src.patches import Patches


def order(number: int, seed: int) -> Iterator[int]:
    """Indices of `number` patches without end: pass after pass, each in an order of its own by (seed, pass)."""
    turn = 0
    while True:
        yield from np.random.default_rng([seed, turn]).permutation(number)
        turn += 1


def _gather(patches: Patches, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (B, S, S, 3) and target (B, S, S, 2) of truth and fov, uint8."""
    indices = np.sort(indices)
    target = np.stack([patches.truth[indices], patches.fov[indices]], axis=-1).astype(np.uint8)
    return patches.images[indices], target


def _dataset(patches: Patches, groups: Callable[[], Iterable[np.ndarray]]) -> tf.data.Dataset:
    side = patches.images.shape[1]
    signature = (
        tf.TensorSpec((None, side, side, 3), tf.uint8),
        tf.TensorSpec((None, side, side, 2), tf.uint8),
    )
    read_all = tf.data.Dataset.from_generator(
        lambda: (_gather(patches, indices) for indices in groups()), output_signature=signature
    )
    as_float = read_all.map(lambda image, target: (tf.cast(image, tf.float32), tf.cast(target, tf.float32)))
    options = tf.data.Options()
    # Every worker draws the same batches and takes its part of each.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return as_float.prefetch(2).with_options(options)


def training(patches: Patches, batch_size: int, seed: int, replicas: int = 1) -> tf.data.Dataset:
    """Endless shuffled batches: image (B, S, S, 3) float32 in 0..255, target (B, S, S, 2) of truth and fov.

    Raises:
        ValueError: a batch cannot be divided evenly among that many replicas.
    """
    if batch_size % replicas:
        raise ValueError(f"train.batch_size: expected a multiple of the {replicas} replicas, got {batch_size}")

    def groups() -> Iterator[np.ndarray]:
        indices = order(len(patches.images), seed)
        while True:
            yield np.fromiter(islice(indices, batch_size), int)

    return _dataset(patches, groups)


def validation(patches: Patches, batch_size: int, replicas: int = 1) -> tf.data.Dataset:
    """All patches once, in order, as batches like those of `training`; may be run through again.

    The last batch is larger where a rest would leave a replica with no patch, which networks do not take: each
    gets ceil(B / replicas), the last what remains, and that is something if B >= replicas^2.

    Raises:
        ValueError: fewer than replicas^2 patches.
    """
    every, least = np.arange(len(patches.images)), replicas**2
    if len(every) < least:
        raise ValueError(f"expected at least {least} validation patches for {replicas} replicas, got {len(every)}")
    groups = np.split(every, range(batch_size, len(every) - least + 1, batch_size))
    return _dataset(patches, lambda: groups)
