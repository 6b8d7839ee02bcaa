import numpy as np
import pytest

from src.preprocessing import patch_storage


def random_patches(count=3, size=8):
    rng = np.random.default_rng(0)
    truth, fov = rng.random((2, count, size, size)) > 0.5
    return patch_storage.Patches(rng.integers(0, 255, (count, size, size, 3), dtype=np.uint8), truth, fov)


def test_patches_are_read_as_written_in_any_order(tmp_path):
    stored = random_patches()
    with patch_storage.PatchWriter(tmp_path, 3, 8) as writer:
        for index in (2, 0, 1):
            writer.write(index, *(array[index] for array in stored))
    for written, array in zip(patch_storage.read(tmp_path), stored, strict=True):
        assert written.dtype == array.dtype
        assert np.array_equal(written, array)
    assert not list(tmp_path.glob("*.part"))


def test_written_bytes_are_those_of_numpy(tmp_path):
    stored = random_patches(1)
    with patch_storage.PatchWriter(tmp_path, 1, 8) as writer:
        writer.write(0, *(array[0] for array in stored))
    np.save(tmp_path / "saved.npy", stored.images)
    assert (tmp_path / "images.npy").read_bytes() == (tmp_path / "saved.npy").read_bytes()


def test_missing_patches_are_rejected_and_leave_no_file(tmp_path):
    with pytest.raises(ValueError, match="3 are missing"), patch_storage.PatchWriter(tmp_path, 3, 8):
        pass
    assert not list(tmp_path.iterdir())


def test_wrong_patch_is_rejected_and_leaves_no_file(tmp_path):
    image, truth, fov = (array[0] for array in random_patches())
    with (
        pytest.raises(ValueError, match=r"truth.npy: expected a patch \(8, 8\) bool, got \(8, 8\) uint8"),
        patch_storage.PatchWriter(tmp_path, 1, 8) as writer,
    ):
        writer.write(0, image, truth.astype(np.uint8), fov)
    assert not list(tmp_path.iterdir())


def test_missing_and_broken_arrays_are_rejected(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"images.npy: missing"):
        patch_storage.read(tmp_path)
    (tmp_path / "images.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match=r"images.npy: expected a whole .npy array"):
        patch_storage.read(tmp_path)


def test_arrays_that_do_not_fit_together_are_rejected(tmp_path):
    images, truth, fov = random_patches()
    for name, array in (("images", images), ("truth", truth[:2]), ("fov", fov)):
        np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(ValueError, match=r"truth.npy: expected \(3, 8, 8\) bool"):
        patch_storage.read(tmp_path)
