import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import augment, patches
from src.params import Augment
from stages import augment as stage

SIZE = 64
STILL = augment.Limits(0, False, 0, 0, 0, 0, 0, 0, 0, 0, 0)
MOVING = STILL._replace(rotation=180.0, flip=True, scale=0.15, elastic=2.0)
FULL = MOVING._replace(brightness=0.1, contrast=0.25, gamma=0.25, colour=0.1, noise=0.02, blur=1.0)


def draw_patch(side=SIZE, seed=0, full=False):
    """Noise around neutral with smooth blobs as truth and a half plane as FOV."""
    rng = np.random.default_rng(seed)
    truth = cv2.GaussianBlur(rng.standard_normal((side, side)), (0, 0), 4) > 0.05
    fov = np.full((side, side), full) | (np.add.outer(np.arange(side), np.arange(side)) > 0.7 * side)
    image = rng.integers(90, 160, (side, side, 3)).astype(np.uint8)
    image[~fov] = patches.NEUTRAL
    return patches.Patches(image, truth, fov)


def change_of(seed, limits=FULL, size=SIZE):
    return augment.draw(np.random.default_rng(seed), limits, size)


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


def test_no_change_changes_nothing():
    patch = draw_patch()
    for before, after in zip(patch, augment.apply(augment.Change(), patch, SIZE), strict=True):
        assert np.array_equal(before, after)


def test_limits_of_zero_change_nothing():
    patch = draw_patch()
    for before, after in zip(patch, augment.apply(change_of(0, STILL), patch, SIZE), strict=True):
        assert np.array_equal(before, after)


def test_flip_exchanges_left_and_right():
    patch = draw_patch()
    for before, after in zip(patch, augment.apply(augment.Change(flip=True), patch, SIZE), strict=True):
        assert np.array_equal(before[:, ::-1], after)


def test_flip_twice_is_identity():
    patch, flip = draw_patch(), augment.Change(flip=True)
    twice = augment.apply(flip, augment.apply(flip, patch, SIZE), SIZE)
    for before, after in zip(patch, twice, strict=True):
        assert np.array_equal(before, after)


def test_four_quarter_turns_are_identity():
    patch = turned = draw_patch()
    for _ in range(4):
        turned = augment.apply(augment.Change(angle=np.pi / 2), turned, SIZE)
        assert not np.array_equal(turned.truth, patch.truth) or _ == 3
    for before, after in zip(patch, turned, strict=True):
        assert np.array_equal(before, after)


def test_exact_changes_move_whole_pixels():
    patch, seen = draw_patch(full=True), set()
    ways = {np.rot90(side, turn).tobytes() for side in (patch.truth, patch.truth[:, ::-1]) for turn in range(4)}
    for seed in range(40):
        moved = augment.apply(change_of(seed, MOVING._replace(exact=1.0)), patch, SIZE)
        assert moved.truth.tobytes() in ways
        assert set(np.unique(moved.images)) == set(np.unique(patch.images))
        seen.add(moved.truth.tobytes())
    assert seen == ways


def test_exact_changes_keep_within_the_rotation():
    turned = {change_of(seed, MOVING._replace(exact=1.0, rotation=100.0)).angle for seed in range(40)}
    assert turned == {-np.pi / 2, 0.0, np.pi / 2}
    assert change_of(3, MOVING._replace(exact=1.0, rotation=80.0)).angle == 0.0


def test_exact_share_leaves_the_other_changes_as_they_are():
    loose, mixed = ([change_of(seed, FULL._replace(exact=share)) for seed in range(200)] for share in (0.0, 0.5))
    exact = [change.zoom == 1.0 and change.bend is None for change in mixed]
    assert 70 < sum(exact) < 130
    for free, change, whole in zip(loose, mixed, exact, strict=True):
        assert (change.noise_seed, change.gamma) == (free.noise_seed, free.gamma)
        assert whole or (change.angle, change.zoom) == (free.angle, free.zoom)


def test_zoom_shows_the_context_smaller():
    side = 2 * SIZE
    patch = patches.Patches(
        np.full((side, side, 3), 128, np.uint8), np.zeros((side, side), bool), np.ones((side, side), bool)
    )
    patch.truth[48:80, 48:80] = True
    shown = augment.apply(augment.Change(zoom=2.0), patch, SIZE)
    assert np.array_equal(np.argwhere(shown.truth).min(axis=0), [24, 24])
    assert shown.truth.sum() == 16 * 16


@pytest.mark.parametrize("seed", range(8))
def test_a_green_channel_that_is_the_truth_stays_the_truth(seed):
    patch = draw_patch(augment.needed_side(SIZE, FULL), full=True)
    patch.images[..., 1] = np.where(patch.truth, 190, 66)
    change = change_of(seed, FULL._replace(brightness=0, gamma=0, noise=0))
    moved = augment.apply(change, patch, SIZE)
    assert dice(moved.images[..., 1] > 128, moved.truth) > 0.97


@pytest.mark.parametrize("seed", range(4))
def test_a_green_channel_that_is_the_fov_stays_the_fov(seed):
    patch = draw_patch(augment.needed_side(SIZE, MOVING))
    patch.images[..., 1] = np.where(patch.fov, 250, patches.NEUTRAL)
    moved = augment.apply(change_of(seed, MOVING), patch, SIZE)
    assert dice(moved.images[..., 1] > 189, moved.fov) > 0.97


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**32),
    st.floats(0, 180),
    st.floats(0, 1),
    st.floats(0, 5),
    st.sampled_from([32, 64, 96]),
)
def test_no_border_comes_in(seed, rotation, scale, elastic, size):
    limits = STILL._replace(rotation=rotation, scale=scale, elastic=elastic, flip=True)
    side = augment.needed_side(size, limits)
    everything = np.ones((side, side), bool)
    patch = patches.Patches(np.full((side, side, 3), 200, np.uint8), everything, everything)
    moved = augment.apply(change_of(seed, limits, size), patch, size)
    assert moved.fov.all()
    assert moved.truth.all()
    assert (moved.images == 200).all()


@pytest.mark.parametrize("angle", np.radians([0, 30, 45, 90, 135, 200]))
@pytest.mark.parametrize("bend", [-1, 1])
def test_no_border_comes_in_at_the_extremes(angle, bend):
    side = augment.needed_side(SIZE, MOVING)
    everything = np.ones((side, side), bool)
    patch = patches.Patches(np.full((side, side, 3), 200, np.uint8), everything, everything)
    far = np.full((4, 4, 2), bend * 100, np.float32)
    moved = augment.apply(augment.Change(angle=angle, zoom=1.15, bend=far, bend_reach=6.0), patch, SIZE)
    assert moved.fov.all()
    assert (moved.images == 200).all()


@pytest.mark.parametrize("seed", range(4))
def test_outside_the_fov_stays_neutral(seed):
    moved = augment.apply(change_of(seed), draw_patch(augment.needed_side(SIZE, FULL)), SIZE)
    assert not moved.fov.all()
    assert (moved.images[~moved.fov] == patches.NEUTRAL).all()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (augment.Change(brightness=0.1), [104, 154, 204]),
        (augment.Change(contrast=1.5), [53, 128, 203]),
        (augment.Change(gains=(1.0, 1.0, 0.5)), [78, 128, 153]),
    ],
)
def test_grey_levels_change_as_told(change, expected):
    levels = augment._levels(change)[0]
    found = [int(levels[78, 0]), int(levels[128, 1]), int(levels[178, 2])]
    assert found == pytest.approx(expected, abs=1)


@given(st.floats(0.5, 1.5), st.floats(0.5, 2.0))
def test_contrast_and_gamma_keep_neutral(contrast, gamma):
    levels = augment._levels(augment.Change(contrast=contrast, gamma=gamma))
    assert (levels[0, patches.NEUTRAL] == patches.NEUTRAL).all()


def test_noise_has_the_deviation_told():
    patch = draw_patch(full=True)._replace(images=np.full((SIZE, SIZE, 3), 128, np.uint8))
    noisy = augment.apply(augment.Change(noise=0.02, noise_seed=1), patch, SIZE).images
    assert noisy.std() == pytest.approx(0.02 * 255, rel=0.05)
    assert noisy.mean() == pytest.approx(128, abs=0.2)


def test_blur_lowers_contrast():
    patch = draw_patch(full=True)
    assert augment.apply(augment.Change(blur=1.0), patch, SIZE).images.std() < 0.6 * patch.images.std()


def test_elastic_field_has_the_deviation_told_where_it_is_drawn_and_less_between():
    fields = [augment._positions(change_of(seed, STILL._replace(elastic=2.0)), SIZE, 0.0) for seed in range(200)]
    straight = np.array(augment._positions(augment.Change(), SIZE, 0.0))
    displacement = np.array(fields) - straight
    assert change_of(1, STILL._replace(elastic=2.0)).bend.std() == pytest.approx(2.0, rel=0.3)
    assert displacement.std() == pytest.approx(0.86 * 2.0, rel=0.05)
    assert np.abs(displacement).max() <= 6.0


def test_changes_stay_within_the_limits():
    drawn = [change_of(seed) for seed in range(300)]
    assert max(change.zoom for change in drawn) <= 1.15
    assert min(change.zoom for change in drawn) >= 1 / 1.15
    assert max(abs(change.angle) for change in drawn) <= np.pi
    assert 0.4 < np.mean([change.flip for change in drawn]) < 0.6
    assert max(change.noise for change in drawn) <= 0.02


def test_the_default_context_is_wide_enough():
    augment.check_context(patches.context_side(256, 1.7), 256, MOVING)


def test_a_context_too_small_is_refused_with_the_number_that_would_do():
    with pytest.raises(
        ValueError, match=r"augment.rotation 180.0, augment.scale 0.15 and augment.elastic 2.0"
    ) as error:
        augment.check_context(384, 256, MOVING)
    needed = float(str(error.value).split("at least ")[1].split()[0])
    augment.check_context(patches.context_side(256, needed), 256, MOVING)
    assert str(error.value).startswith("patch.context: expected at least 1.69 ")


def test_without_rotation_and_scale_no_context_is_needed():
    augment.check_context(256, 256, STILL._replace(flip=True, noise=1.0))


def write_patches(folder, count=3, side=None):
    side = side or augment.needed_side(SIZE, FULL)
    with patches.PatchWriter(folder, count, side) as writer:
        for index in range(count):
            writer.write(index, *draw_patch(side, seed=index))
    return folder


def run_stage(source, out, workers=1, **changes):
    values = FULL._asdict() | {"copies": 2, "seed": 1} | changes
    stage.main(source, out, SIZE, Augment(**values), workers)
    return [(out / f"{kind}.npy").read_bytes() for kind in patches.Patches._fields]


def test_stage_writes_each_patch_followed_by_its_variants(tmp_path):
    source = write_patches(tmp_path / "patches")
    run_stage(source, tmp_path / "out")
    wide, written = patches.read(source), patches.read(tmp_path / "out")
    margin = (wide.fov.shape[1] - SIZE) // 2
    centre = slice(margin, margin + SIZE)
    assert written.images.shape == (3 * 3, SIZE, SIZE, 3)
    for before, after in zip(wide, written, strict=True):
        assert np.array_equal(before[:, centre, centre], after[::3])
    assert len({image.tobytes() for image in written.images}) == 9


def test_the_same_seed_gives_the_same_bytes_for_any_number_of_workers(tmp_path):
    source = write_patches(tmp_path / "patches", count=8)
    one = run_stage(source, tmp_path / "one", workers=1)
    assert run_stage(source, tmp_path / "two", workers=2) == one
    assert run_stage(source, tmp_path / "one", workers=3) == one


def test_another_seed_gives_other_bytes(tmp_path):
    source = write_patches(tmp_path / "patches")
    assert run_stage(source, tmp_path / "one") != run_stage(source, tmp_path / "two", seed=2)


def test_more_copies_keep_the_earlier_ones(tmp_path):
    source = write_patches(tmp_path / "patches")
    run_stage(source, tmp_path / "few", copies=1)
    run_stage(source, tmp_path / "many", copies=3)
    few, many = (patches.read(tmp_path / name).images for name in ("few", "many"))
    assert np.array_equal(few[1::2], many[1::4])


def test_without_copies_the_centres_remain(tmp_path):
    source = write_patches(tmp_path / "patches", side=SIZE)
    run_stage(source, tmp_path / "out", copies=0)
    assert np.array_equal(patches.read(tmp_path / "out").images, patches.read(source).images)


def test_stage_refuses_too_little_context_and_leaves_no_file(tmp_path):
    source = write_patches(tmp_path / "patches", side=SIZE)
    with pytest.raises(ValueError, match=r"patch.context: expected at least"):
        run_stage(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stage_refuses_missing_patches(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images.npy: missing"):
        run_stage(tmp_path, tmp_path / "out")


def test_opencv_keeps_its_number_of_threads(tmp_path):
    before = cv2.getNumThreads()
    run_stage(write_patches(tmp_path / "patches"), tmp_path / "out")
    assert cv2.getNumThreads() == before
