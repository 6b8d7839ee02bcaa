import math
from itertools import islice

import numpy as np
import pytest

from src.preprocessing.patch_storage import Patches
from src.training import data_loader


def numbered(number: int, side: int = 4) -> Patches:
    """Patches in which every pixel of the image is the number of the patch, and the truth its parity."""
    index = np.arange(number)[:, None, None] * np.ones((1, side, side), int)
    images = np.repeat(index[..., None], 3, axis=-1).astype(np.uint8)
    return Patches(images, index % 2 == 1, index >= 0)


def test_each_pass_has_every_patch_once():
    order = list(islice(data_loader.shuffled_order(7, seed=1), 21))
    for number in range(3):
        assert sorted(order[7 * number : 7 * number + 7]) == list(range(7))
    assert order[:7] != order[7:14]


def test_order_depends_on_the_seed_alone():
    first, again, other = (list(islice(data_loader.shuffled_order(50, seed), 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("start", [0, 1, 6, 7, 8, 30])
def test_order_from_a_start_skips_what_is_before(start):
    whole = list(islice(data_loader.shuffled_order(7, seed=1), 50))
    assert list(islice(data_loader.shuffled_order(7, seed=1, start=start), 50 - start)) == whole[start:]


@pytest.mark.parametrize("step", [0, 2, 5])
def test_batches_from_a_step_skip_those_before(step):
    whole = [image.numpy() for image, _ in data_loader.training_dataset(numbered(7), 3, seed=1).take(8)]
    rest = [
        image.numpy() for image, _ in data_loader.training_dataset(numbered(7), 3, seed=1, step=step).take(8 - step)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(whole[step:], rest, strict=True))


def test_image_and_target_stay_together():
    for image, target in data_loader.training_dataset(numbered(9), batch_size=4, seed=1).take(5):
        assert image.shape == (4, 4, 4, 3)
        assert np.array_equal(image[..., 0] % 2, target[..., 0])
        assert (target[..., 1] == 1).numpy().all()


def test_training_is_endless_and_validation_is_not():
    assert sum(len(image) for image, _ in data_loader.training_dataset(numbered(3), 2, seed=1).take(10)) == 20
    assert [len(image) for image, _ in data_loader.validation_dataset(numbered(5), 2)] == [2, 2, 1]


@pytest.mark.parametrize(
    "make", [lambda p: data_loader.training_dataset(p, 3, 1), lambda p: data_loader.validation_dataset(p, 3)]
)
def test_no_thread_autotunes_the_pipeline(make):
    assert make(numbered(8)).options().autotune.enabled is False


@pytest.mark.parametrize(
    "make", [lambda p: data_loader.training_dataset(p, 3, 1).take(4), lambda p: data_loader.validation_dataset(p, 3)]
)
def test_iterating_again_gives_the_same_batches(make):
    data = make(numbered(8))
    first, again = ([image.numpy() for image, _ in data] for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


def test_validation_can_be_iterated_twice():
    data = data_loader.validation_dataset(numbered(5), 2)
    assert len(list(data)) == len(list(data)) == 3


def test_batch_that_replicas_cannot_share_evenly_is_rejected():
    with pytest.raises(ValueError, match=r"train\.batch_size: expected a multiple of the 2 replicas, got 3"):
        data_loader.training_dataset(numbered(9), batch_size=3, seed=1, replicas=2)


@pytest.mark.parametrize("replicas", [1, 2, 3, 4])
@pytest.mark.parametrize("number", range(16, 25))
def test_no_replica_is_left_without_validation_patches(number, replicas):
    sizes = [len(image) for image, _ in data_loader.validation_dataset(numbered(number, side=1), 12, replicas)]
    assert sum(sizes) == number
    assert all(size > (replicas - 1) * math.ceil(size / replicas) for size in sizes)


def test_fewer_validation_patches_than_replicas_need_are_rejected():
    with pytest.raises(ValueError, match="expected at least 4 validation patches for 2 replicas, got 3"):
        data_loader.validation_dataset(numbered(3), 2, replicas=2)
