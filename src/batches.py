"""Batches of patches for training and validation, read by memory map."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import numpy as np

from src.backend import tf
from src.patches import Patches


def order(number: int, seed: int, start: int = 0) -> Iterator[int]:
    """Indices of `number` patches without end: pass after pass, each in an order of its own by (seed, pass).

    The first `start` are left out, at no cost.
    """
    turn, seen = divmod(start, number)
    while True:
        yield from np.random.default_rng([seed, turn]).permutation(number)[seen:]
        turn, seen = turn + 1, 0


def groups(number: int, batch_size: int, seed: int, step: int = 0) -> Iterator[np.ndarray]:
    """The indices of each batch of training, rising, from that of `step` (which counts from 0) on, without end."""
    indices = order(number, seed, step * batch_size)
    while True:
        yield np.sort(np.fromiter(islice(indices, batch_size), int))


def _gather(patches: Patches, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Image (B, S, S, 3) and target (B, S, S, 2) of truth and fov, uint8."""
    target = np.stack([patches.truth[indices], patches.fov[indices]], axis=-1).astype(np.uint8)
    return patches.images[indices], target


def _dataset(patches: Patches, batches: Callable[[], Iterable[np.ndarray]]) -> tf.data.Dataset:
    side = patches.images.shape[1]
    signature = (
        tf.TensorSpec((None, side, side, 3), tf.uint8),
        tf.TensorSpec((None, side, side, 2), tf.uint8),
    )
    read_all = tf.data.Dataset.from_generator(
        lambda: (_gather(patches, indices) for indices in batches()), output_signature=signature
    )
    as_float = read_all.map(lambda image, target: (tf.cast(image, tf.float32), tf.cast(target, tf.float32)))
    options = tf.data.Options()
    # Every worker draws the same batches and takes its part of each.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    # Its thread sleeps for up to a minute, and whoever drops the iterator waits until it wakes: once a fit and epoch.
    options.autotune.enabled = False
    return as_float.prefetch(2).with_options(options)


def training(patches: Patches, batch_size: int, seed: int, replicas: int = 1, step: int = 0) -> tf.data.Dataset:
    """Endless shuffled batches: image (B, S, S, 3) float32 in 0..255, target (B, S, S, 2) of truth and fov.

    They begin with the batch of `step`, as if those before it had been drawn.

    Raises:
        ValueError: a batch cannot be divided evenly among that many replicas.
    """
    if batch_size % replicas:
        raise ValueError(f"train.batch_size: expected a multiple of the {replicas} replicas, got {batch_size}")
    return _dataset(patches, lambda: groups(len(patches.images), batch_size, seed, step))


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
    parts = np.split(every, range(batch_size, len(every) - least + 1, batch_size))
    return _dataset(patches, lambda: parts)
