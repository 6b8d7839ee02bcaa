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


def located(number: int, side: int = 8) -> Patches:
    """Patches in which every pixel of the image tells its patch, row and column; truth: odd rows, FOV: odd columns."""
    patch, row, column = np.indices((number, side, side))
    return Patches(np.stack([patch, row, column], axis=-1).astype(np.uint8), row % 2 == 1, column % 2 == 1)


def crops(step: int = 0, seed: int = 1):
    return data_loader.training_dataset(located(5), 2, seed, step=step, crop_size=3)


def test_crops_are_places_of_patches_in_all_orientations_with_their_labels():
    corners, orientations = set(), set()
    for image, target in crops().unbatch().take(300).as_numpy_iterator():
        assert len(set(image[..., 0].flat)) == 1
        np.testing.assert_array_equal(target, image[..., 1:] % 2)
        rows, columns = image[..., 1], image[..., 2]
        assert {tuple(np.unique(part)) for part in (rows, columns)} <= {(at, at + 1, at + 2) for at in range(6)}
        corners.add((rows.min(), columns.min()))
        orientations.add((tuple(rows[0] - rows.min()), tuple(columns[0] - columns.min())))
    assert len(corners) == 36
    assert len(orientations) == 8


def test_each_pass_has_other_crops_and_the_same_again_from_a_later_step():
    whole = [image.numpy() for image, _ in crops().take(20)]
    assert len({image.tobytes() for image in whole}) == 20
    for image, (again, _) in zip(whole[13:], crops(step=13).take(7), strict=True):
        np.testing.assert_array_equal(image, again)
    assert not np.array_equal(whole[0], next(iter(crops(seed=2)))[0])


def test_crop_larger_than_a_patch_is_rejected():
    with pytest.raises(ValueError, match=r"train\.crop_size: expected at most the 8 pixels of a patch, got 32"):
        data_loader.training_dataset(located(2), 1, seed=1, crop_size=32)
