import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_patches import ALL, GEOMETRIC, NONE, SIZE, random_patch

from src.preprocessing import transforms
from src.preprocessing.patch_storage import LabelledPatch
from src.preprocessing.patches import NEUTRAL


def draw(seed, limits=ALL, size=SIZE):
    return transforms.draw_transform(np.random.default_rng(seed), limits, size)


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_identity_changes_nothing():
    patch = random_patch()
    for before, after in zip(patch, transforms.apply_transform(transforms.Transform(), patch, SIZE), strict=True):
        assert np.array_equal(before, after)


def test_limits_of_zero_give_the_identity():
    patch = random_patch()
    for before, after in zip(patch, transforms.apply_transform(draw(0, NONE), patch, SIZE), strict=True):
        assert np.array_equal(before, after)


def test_flip_exchanges_left_and_right():
    patch = random_patch()
    for before, after in zip(
        patch, transforms.apply_transform(transforms.Transform(flip=True), patch, SIZE), strict=True
    ):
        assert np.array_equal(before[:, ::-1], after)


def test_flip_twice_is_identity():
    patch, flip = random_patch(), transforms.Transform(flip=True)
    twice = transforms.apply_transform(flip, transforms.apply_transform(flip, patch, SIZE), SIZE)
    for before, after in zip(patch, twice, strict=True):
        assert np.array_equal(before, after)


def test_four_rotations_by_90_degrees_are_identity():
    patch = rotated = random_patch()
    for step in range(4):
        rotated = transforms.apply_transform(transforms.Transform(angle=np.pi / 2), rotated, SIZE)
        assert not np.array_equal(rotated.truth, patch.truth) or step == 3
    for before, after in zip(patch, rotated, strict=True):
        assert np.array_equal(before, after)


def test_rot90_only_transforms_move_whole_pixels():
    patch, found = random_patch(full=True), set()
    expected = {np.rot90(side, step).tobytes() for side in (patch.truth, patch.truth[:, ::-1]) for step in range(4)}
    for seed in range(40):
        warped = transforms.apply_transform(draw(seed, GEOMETRIC._replace(rot90_only_fraction=1.0)), patch, SIZE)
        assert warped.truth.tobytes() in expected
        assert set(np.unique(warped.image)) == set(np.unique(patch.image))
        found.add(warped.truth.tobytes())
    assert found == expected


def test_rot90_only_transforms_keep_within_the_rotation():
    angles = {draw(seed, GEOMETRIC._replace(rot90_only_fraction=1.0, rotation=100.0)).angle for seed in range(40)}
    assert angles == {-np.pi / 2, 0.0, np.pi / 2}
    assert draw(3, GEOMETRIC._replace(rot90_only_fraction=1.0, rotation=80.0)).angle == 0.0


def test_rot90_only_fraction_leaves_the_other_transforms_unchanged():
    loose, mixed = (
        [draw(seed, ALL._replace(rot90_only_fraction=fraction)) for seed in range(200)] for fraction in (0.0, 0.5)
    )
    rot90_only = [transform.scale == 1.0 and transform.displacement is None for transform in mixed]
    assert 70 < sum(rot90_only) < 130
    for free, transform, restricted in zip(loose, mixed, rot90_only, strict=True):
        assert (transform.noise_seed, transform.gamma) == (free.noise_seed, free.gamma)
        assert restricted or (transform.angle, transform.scale) == (free.angle, free.scale)


def test_scale_above_one_shows_the_context():
    side = 2 * SIZE
    patch = LabelledPatch(
        np.full((side, side, 3), 128, np.uint8), np.zeros((side, side), bool), np.ones((side, side), bool)
    )
    patch.truth[48:80, 48:80] = True
    warped = transforms.apply_transform(transforms.Transform(scale=2.0), patch, SIZE)
    assert np.array_equal(np.argwhere(warped.truth).min(axis=0), [24, 24])
    assert warped.truth.sum() == 16 * 16


@pytest.mark.parametrize("seed", range(8))
def test_a_green_channel_that_is_the_truth_stays_the_truth(seed):
    patch = random_patch(transforms.needed_side(SIZE, ALL), full=True)
    patch.image[..., 1] = np.where(patch.truth, 190, 66)
    transform = draw(seed, ALL._replace(brightness=0, gamma=0, noise_std=0))
    warped = transforms.apply_transform(transform, patch, SIZE)
    assert dice(warped.image[..., 1] > 128, warped.truth) > 0.97


@pytest.mark.parametrize("seed", range(4))
def test_a_green_channel_that_is_the_fov_stays_the_fov(seed):
    patch = random_patch(transforms.needed_side(SIZE, GEOMETRIC))
    patch.image[..., 1] = np.where(patch.fov, 250, NEUTRAL)
    warped = transforms.apply_transform(draw(seed, GEOMETRIC), patch, SIZE)
    assert dice(warped.image[..., 1] > 189, warped.fov) > 0.97


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.floats(0, 180),
    st.floats(0, 1),
    st.floats(0, 5),
    st.sampled_from([32, 64, 96]),
)
def test_no_border_is_visible(seed, rotation, scale, elastic, size):
    limits = NONE._replace(rotation=rotation, scale=scale, elastic_sigma=elastic, flip=True)
    side = transforms.needed_side(size, limits)
    everything = np.ones((side, side), bool)
    patch = LabelledPatch(np.full((side, side, 3), 200, np.uint8), everything, everything)
    warped = transforms.apply_transform(draw(seed, limits, size), patch, size)
    assert warped.fov.all()
    assert warped.truth.all()
    assert (warped.image == 200).all()


@pytest.mark.parametrize("angle", np.radians([0, 30, 45, 90, 135, 200]))
@pytest.mark.parametrize("sign", [-1, 1])
def test_no_border_is_visible_at_the_extremes(angle, sign):
    side = transforms.needed_side(SIZE, GEOMETRIC)
    everything = np.ones((side, side), bool)
    patch = LabelledPatch(np.full((side, side, 3), 200, np.uint8), everything, everything)
    far = np.full((4, 4, 2), sign * 100, np.float32)
    warped = transforms.apply_transform(
        transforms.Transform(angle=angle, scale=1.15, displacement=far, max_displacement=6.0), patch, SIZE
    )
    assert warped.fov.all()
    assert (warped.image == 200).all()


@pytest.mark.parametrize("seed", range(4))
def test_outside_the_fov_stays_neutral(seed):
    warped = transforms.apply_transform(draw(seed), random_patch(transforms.needed_side(SIZE, ALL)), SIZE)
    assert not warped.fov.all()
    assert (warped.image[~warped.fov] == NEUTRAL).all()


@pytest.mark.parametrize(
    ("transform", "expected"),
    [
        (transforms.Transform(brightness=0.1), [104, 154, 204]),
        (transforms.Transform(contrast=1.5), [53, 128, 203]),
        (transforms.Transform(gains=(1.0, 1.0, 0.5)), [78, 128, 153]),
    ],
)
def test_intensity_changes_by_the_parameters(transform, expected):
    levels = transforms.intensity_table(transform)[0]
    found = [int(levels[78, 0]), int(levels[128, 1]), int(levels[178, 2])]
    assert found == pytest.approx(expected, abs=1)


@given(st.floats(0.5, 1.5), st.floats(0.5, 2.0))
def test_contrast_and_gamma_keep_neutral(contrast, gamma):
    levels = transforms.intensity_table(transforms.Transform(contrast=contrast, gamma=gamma))
    assert (levels[0, NEUTRAL] == NEUTRAL).all()


def test_noise_has_its_standard_deviation():
    patch = random_patch(full=True)._replace(image=np.full((SIZE, SIZE, 3), 128, np.uint8))
    noisy = transforms.apply_transform(transforms.Transform(noise=0.02, noise_seed=1), patch, SIZE).image
    assert noisy.std() == pytest.approx(0.02 * 255, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_blur_lowers_contrast():
    patch = random_patch(full=True)
    assert transforms.apply_transform(transforms.Transform(blur=1.0), patch, SIZE).image.std() < 0.6 * patch.image.std()


def test_elastic_field_has_its_standard_deviation_at_the_nodes_and_less_between():
    fields = [
        transforms.source_positions(draw(seed, NONE._replace(elastic_sigma=2.0)), SIZE, 0.0) for seed in range(200)
    ]
    straight = np.array(transforms.source_positions(transforms.Transform(), SIZE, 0.0))
    displacement = np.array(fields) - straight
    assert draw(1, NONE._replace(elastic_sigma=2.0)).displacement.std() == pytest.approx(2.0, rel=0.3)
    assert displacement.std() == pytest.approx(0.86 * 2.0, rel=0.05)
    assert np.abs(displacement).max() <= 6.0


def test_transforms_stay_within_the_limits():
    found = [draw(seed) for seed in range(300)]
    assert max(transform.scale for transform in found) <= 1.15
    assert min(transform.scale for transform in found) >= 1 / 1.15
    assert max(abs(transform.angle) for transform in found) <= np.pi
    assert 0.4 < np.mean([transform.flip for transform in found]) < 0.6
    assert max(transform.noise for transform in found) <= 0.02
