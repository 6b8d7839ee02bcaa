import cv2
import numpy as np
import pytest
from random_patches import ALL, GEOMETRIC, NONE, SIZE, random_patch

from src.params import Augment
from src.preprocessing import augmentation, patch_storage, transforms
from src.preprocessing.patches import context_side
from stages import augment as stage


def test_default_context_is_large_enough():
    augmentation.check_context(context_side(256, 1.7), 256, GEOMETRIC)


def test_context_too_small_is_rejected_with_the_needed_one():
    with pytest.raises(
        ValueError, match=r"augment.rotation 180.0, augment.scale 0.15 and augment.elastic_sigma 2.0"
    ) as error:
        augmentation.check_context(384, 256, GEOMETRIC)
    needed = float(str(error.value).split("at least ")[1].split()[0])
    augmentation.check_context(context_side(256, needed), 256, GEOMETRIC)
    assert str(error.value).startswith("patch.context: expected at least 1.69 ")


def test_without_rotation_and_scale_no_context_is_needed():
    augmentation.check_context(256, 256, NONE._replace(flip=True, noise_std=1.0))


def write_patches(folder, count=3, side=None):
    side = side or transforms.needed_side(SIZE, ALL)
    with patch_storage.PatchWriter(folder, count, side) as writer:
        for index in range(count):
            writer.write(index, *random_patch(side, seed=index))
    return folder


def run_stage(source, out, workers=1, **changes):
    values = ALL._asdict() | {"n_per_patch": 2, "seed": 1} | changes
    stage.main(source, out, SIZE, Augment(**values), workers)
    return [(out / f"{kind}.npy").read_bytes() for kind in patch_storage.Patches._fields]


def test_stage_writes_each_patch_followed_by_its_transforms(tmp_path):
    source = write_patches(tmp_path / "patches")
    run_stage(source, tmp_path / "out")
    wide, written = patch_storage.read(source), patch_storage.read(tmp_path / "out")
    margin = (wide.fov.shape[1] - SIZE) // 2
    centre = slice(margin, margin + SIZE)
    assert written.images.shape == (3 * 3, SIZE, SIZE, 3)
    for before, after in zip(wide, written, strict=True):
        assert np.array_equal(before[:, centre, centre], after[::3])
    assert len({image.tobytes() for image in written.images}) == 9


def test_bytes_depend_on_the_seed_and_not_on_the_workers(tmp_path):
    source = write_patches(tmp_path / "patches", count=8)
    one = run_stage(source, tmp_path / "one", workers=1)
    assert run_stage(source, tmp_path / "two", workers=2) == one
    assert run_stage(source, tmp_path / "one", workers=3) == one


def test_another_seed_gives_other_bytes(tmp_path):
    source = write_patches(tmp_path / "patches")
    assert run_stage(source, tmp_path / "one") != run_stage(source, tmp_path / "two", seed=2)


def test_larger_n_per_patch_keeps_the_earlier_transforms(tmp_path):
    source = write_patches(tmp_path / "patches")
    run_stage(source, tmp_path / "few", n_per_patch=1)
    run_stage(source, tmp_path / "many", n_per_patch=3)
    few, many = (patch_storage.read(tmp_path / name).images for name in ("few", "many"))
    assert np.array_equal(few[1::2], many[1::4])


def test_n_per_patch_zero_keeps_the_centres(tmp_path):
    source = write_patches(tmp_path / "patches", side=SIZE)
    run_stage(source, tmp_path / "out", n_per_patch=0)
    assert np.array_equal(patch_storage.read(tmp_path / "out").images, patch_storage.read(source).images)


def test_stage_rejects_too_little_context_and_leaves_no_file(tmp_path):
    source = write_patches(tmp_path / "patches", side=SIZE)
    with pytest.raises(ValueError, match=r"patch.context: expected at least"):
        run_stage(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_stage_rejects_missing_patches(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images.npy: missing"):
        run_stage(tmp_path, tmp_path / "out")


def test_opencv_threads_are_restored(tmp_path):
    before = cv2.getNumThreads()
    run_stage(write_patches(tmp_path / "patches"), tmp_path / "out")
    assert cv2.getNumThreads() == before
