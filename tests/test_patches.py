import csv
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src import patches, samples
from src.params import Patch, Preprocess
from stages import patch as stage

SIDES = st.integers(1, 90)
SIZES = st.integers(1, 40)


@settings(deadline=None)
@given(SIDES, SIDES, SIZES, st.floats(0.05, 1))
def test_stitch_undoes_cut(height, width, size, step):
    array = np.random.default_rng(0).random((height, width), np.float32)
    corners = patches.positions(array.shape, size, max(1, int(size * step)))
    cuts = np.stack([patches.cut(array, corner, size) for corner in corners])
    assert np.allclose(patches.stitch(cuts, corners, array.shape), array, atol=1e-5)


@given(SIDES, SIZES, st.integers(1, 40))
def test_patches_stay_inside_and_end_with_the_image(length, size, stride):
    found = patches.starts(length, size, stride)
    assert found[0] == 0
    assert found[-1] == max(length - size, 0)
    assert found == sorted(set(found))
    assert all(b - a <= stride for a, b in pairwise(found))


def test_positions_are_row_by_row():
    assert patches.positions((5, 4), 3, 2).tolist() == [[0, 0], [0, 1], [2, 0], [2, 1]]


@pytest.mark.parametrize(("length", "size", "stride"), [(0, 4, 4), (8, 0, 4), (8, 4, 0)])
def test_sides_and_strides_below_one_are_refused(length, size, stride):
    with pytest.raises(ValueError, match="at least 1"):
        patches.starts(length, size, stride)


@pytest.mark.parametrize(("dtype", "beyond"), [(np.uint8, patches.NEUTRAL), (np.bool_, False), (np.float32, 0.0)])
def test_beyond_the_image_a_patch_is_neutral(dtype, beyond):
    patch = patches.cut(np.ones((2, 3), dtype), (-1, -2), 6)
    expected = np.full((6, 6), beyond, dtype)
    expected[1:3, 2:5] = 1
    assert np.array_equal(patch, expected)


@pytest.mark.parametrize("position", [(-9, 0), (0, -9), (9, 9)])
def test_a_patch_off_the_image_is_neutral(position):
    assert (patches.cut(np.zeros((5, 5, 3), np.uint8), position, 4) == patches.NEUTRAL).all()


def test_the_centre_of_a_patch_with_context_is_the_patch():
    image = np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)
    wide = patches.cut_around(image, (3, 20), 16, 28)
    assert wide.shape == (28, 28, 3)
    assert np.array_equal(wide[6:22, 6:22], patches.cut(image, (3, 20), 16))


@pytest.mark.parametrize(("size", "context", "side"), [(256, 1.7, 436), (256, 1.0, 256), (64, 1.01, 64)])
def test_context_is_even_and_never_below_the_patch(size, context, side):
    assert patches.context_side(size, context) == side


def test_only_patches_with_enough_field_of_view_stay():
    fov = np.zeros((8, 8), bool)
    fov[:4, :4] = True
    fov[4, 4] = True
    assert patches.inside(fov, 4, 4, 0.5).tolist() == [[0, 0]]
    assert patches.inside(fov, 4, 4, 0.0).tolist() == [[0, 0], [4, 4]]


def test_the_window_is_positive_symmetric_and_highest_in_the_middle():
    weight = patches.window(17)
    assert weight.min() > 0
    assert np.allclose(weight, weight[::-1].T, atol=1e-6)
    assert weight.argmax() == 17 * 17 // 2


def test_a_map_with_bare_pixels_is_refused():
    stitcher = patches.Stitcher((4, 6), 4)
    stitcher.add(np.ones((4, 4), np.float32), (0, 0))
    with pytest.raises(ValueError, match="8 pixels in none"):
        stitcher.result()


def test_a_patch_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"expected shape \(4, 4\), got \(3, 4\)"):
        patches.Stitcher((4, 6), 4).add(np.ones((3, 4), np.float32), (0, 0))


def draw_patches(count=3, size=8):
    rng = np.random.default_rng(0)
    truth, fov = rng.random((2, count, size, size)) > 0.5
    return patches.Patches(rng.integers(0, 255, (count, size, size, 3), dtype=np.uint8), truth, fov)


def test_patches_are_read_as_written_in_any_order(tmp_path):
    drawn = draw_patches()
    with patches.PatchWriter(tmp_path, 3, 8) as writer:
        for index in (2, 0, 1):
            writer.write(index, *(array[index] for array in drawn))
    for written, array in zip(patches.read(tmp_path), drawn, strict=True):
        assert written.dtype == array.dtype
        assert np.array_equal(written, array)
    assert not list(tmp_path.glob("*.part"))


def test_written_bytes_are_those_of_numpy(tmp_path):
    drawn = draw_patches(1)
    with patches.PatchWriter(tmp_path, 1, 8) as writer:
        writer.write(0, *(array[0] for array in drawn))
    np.save(tmp_path / "saved.npy", drawn.images)
    assert (tmp_path / "images.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def test_missing_patches_are_refused_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="3 are missing"), patches.PatchWriter(tmp_path, 3, 8):
        pass
    assert not list(tmp_path.iterdir())


def test_a_wrong_patch_is_refused_and_leaves_no_file(tmp_path):
    image, truth, fov = (array[0] for array in draw_patches())
    with (
        pytest.raises(ValueError, match=r"truth.npy: expected a patch \(8, 8\) bool, got \(8, 8\) uint8"),
        patches.PatchWriter(tmp_path, 1, 8) as writer,
    ):
        writer.write(0, image, truth.astype(np.uint8), fov)
    assert not list(tmp_path.iterdir())


def test_missing_and_broken_arrays_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images.npy: missing"):
        patches.read(tmp_path)
    (tmp_path / "images.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"images.npy: expected a whole .npy array"):
        patches.read(tmp_path)


def test_arrays_that_do_not_fit_together_are_refused(tmp_path):
    images, truth, fov = draw_patches()
    for name, array in (("images", images), ("truth", truth[:2]), ("fov", fov)):
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(ValueError, match=r"truth.npy: expected \(3, 8, 8\) bool"):
        patches.read(tmp_path)


def write_subset(root, ids=("01", "02"), diameter=90):
    """Drawn photographs whose green channel shows the vessel."""
    y, x = np.mgrid[:100, :110]
    fov = (y - 50) ** 2 + (x - 55) ** 2 <= (diameter / 2) ** 2
    truth = fov & (np.abs(y - x) < 4)
    image = np.random.default_rng(0).integers(100, 120, (100, 110, 3)).astype(np.uint8)
    image[truth, 1] = 30
    for name in ids:
        samples.write_eye(root, "phantom", samples.Eye(name, name, image, truth, fov, None))
    samples.write_table(root, [("phantom", name, name) for name in ids])


def run_stage(folder, min_fov=0.3, size=32, held_out=("03",)):
    write_subset(folder / "train")
    write_subset(folder / "validation", ids=held_out)
    patch = Patch(size=size, stride=16, min_fov=min_fov, context=1.7)
    preparation = Preprocess(fov_diameter=90, clahe=0)
    stage.main(folder / "train", folder / "validation", folder / "out", patch, preparation)
    return folder / "out"


def test_stage_cuts_wide_training_and_plain_validation_patches(tmp_path):
    out = run_stage(tmp_path)
    assert patches.read(out / "train").truth.shape[1:] == (54, 54)
    assert patches.read(out / "validation").truth.shape[1:] == (32, 32)


def test_stage_without_a_held_out_photograph_leaves_no_patch_of_it(tmp_path):
    out = run_stage(tmp_path, held_out=())
    assert patches.read_if_any(out / "validation") is None
    assert len(patches.read_if_any(out / "train").fov) == len(patches.read(out / "train").fov)


def test_patches_that_the_table_lists_must_be_there(tmp_path):
    out = run_stage(tmp_path)
    (out / "validation" / "truth.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"truth\.npy: missing"):
        patches.read_if_any(out / "validation")


def test_stage_names_every_patch(tmp_path):
    out = run_stage(tmp_path)
    text = (out / "train" / "positions.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    written = patches.read(out / "train")
    assert len(rows) == len(written.fov)
    image = samples.read_bool(tmp_path / "train" / "phantom" / "truth" / "01.png")
    for index in (0, len(rows) // 2 - 1):
        corner = int(rows[index]["row"]), int(rows[index]["column"])
        assert rows[index]["id"] == "01"
        assert np.array_equal(written.truth[index][11:43, 11:43], patches.cut(image, corner, 32))


def test_stage_keeps_image_and_truth_together(tmp_path):
    written = patches.read(run_stage(tmp_path) / "train")
    green = written.images[..., 1]
    assert (green[written.truth] < 90).all()
    assert (green[written.fov & ~written.truth] > 90).all()


def test_stage_writes_the_same_bytes_again(tmp_path):
    first, second = (
        [path.read_bytes() for path in sorted(run_stage(tmp_path).rglob("*")) if path.is_file()] for _ in range(2)
    )
    assert len(first) == 8
    assert first == second


def test_stage_takes_photographs_smaller_than_a_patch(tmp_path):
    out = run_stage(tmp_path, min_fov=0.2, size=160)
    assert patches.read(out / "validation").fov.shape == (1, 160, 160)


def test_stage_without_a_patch_names_the_key(tmp_path):
    with pytest.raises(ValueError, match=r"patch.min_fov: expected a patch of .*train with an FOV share of 1"):
        run_stage(tmp_path, min_fov=1.0, size=96)


def test_stage_names_the_empty_fov(tmp_path):
    write_subset(tmp_path / "train")
    path = tmp_path / "train" / "phantom" / "fov" / "02.png"
    samples.write_bool(path, np.zeros((100, 110), bool))
    sections = Patch(size=32, stride=16, min_fov=0.3, context=1), Preprocess(fov_diameter=90, clahe=0)
    with pytest.raises(ValueError, match=r"02.png: expected at least one pixel"):
        stage.write_subset(tmp_path / "train", tmp_path / "out", 32, *sections)


def test_stage_names_the_truth_of_another_shape(tmp_path):
    write_subset(tmp_path / "train")
    samples.write_bool(tmp_path / "train" / "phantom" / "truth" / "02.png", np.zeros((110, 100), bool))
    sections = Patch(size=32, stride=16, min_fov=0.3, context=1), Preprocess(fov_diameter=90, clahe=0)
    with pytest.raises(ValueError, match=r"truth/02.png: expected 100x110 like the image, got 110x100"):
        stage.write_subset(tmp_path / "train", tmp_path / "out", 32, *sections)
