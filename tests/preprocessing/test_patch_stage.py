import csv

import numpy as np
import pytest

from src.data import samples
from src.params import Patch, Preprocess
from src.preprocessing import patch_storage, patches
from stages import patch as stage


def write_subset(root, ids=("01", "02"), diameter=90):
    """Write images whose green channel shows the vessel."""
    y, x = np.mgrid[:100, :110]
    fov = (y - 50) ** 2 + (x - 55) ** 2 <= (diameter / 2) ** 2
    truth = fov & (np.abs(y - x) < 4)
    image = np.random.default_rng(0).integers(100, 120, (100, 110, 3)).astype(np.uint8)
    image[truth, 1] = 30
    for name in ids:
        samples.write_labelled_image(root, "phantom", samples.LabelledImage(name, name, image, truth, fov, None))
    samples.write_table(root, [("phantom", name, name) for name in ids])


def run_stage(folder, min_fov=0.3, size=32, held_out=("03",)):
    write_subset(folder / "train")
    write_subset(folder / "validation", ids=held_out)
    patch = Patch(size=size, stride=16, min_fov=min_fov, context=1.7)
    preprocess = Preprocess(fov_diameter=90, clahe_clip_limit=0)
    stage.main(folder / "train", folder / "validation", folder / "out", patch, preprocess)
    return folder / "out"


def test_stage_cuts_wide_training_and_plain_validation_patches(tmp_path):
    out = run_stage(tmp_path)
    assert patch_storage.read(out / "train").truth.shape[1:] == (54, 54)
    assert patch_storage.read(out / "validation").truth.shape[1:] == (32, 32)


def test_stage_without_validation_images_writes_no_validation_patches(tmp_path):
    out = run_stage(tmp_path, held_out=())
    assert patch_storage.read_or_none(out / "validation") is None
    assert len(patch_storage.read_or_none(out / "train").fov) == len(patch_storage.read(out / "train").fov)


def test_patches_of_the_table_must_exist(tmp_path):
    out = run_stage(tmp_path)
    (out / "validation" / "truth.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"truth\.npy: missing"):
        patch_storage.read_or_none(out / "validation")


def test_stage_writes_the_position_of_every_patch(tmp_path):
    out = run_stage(tmp_path)
    text = (out / "train" / "positions.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    written = patch_storage.read(out / "train")
    assert len(rows) == len(written.fov)
    image = samples.read_bool(tmp_path / "train" / "phantom" / "truth" / "01.png")
    for index in (0, len(rows) // 2 - 1):
        corner = int(rows[index]["row"]), int(rows[index]["column"])
        assert rows[index]["id"] == "01"
        assert np.array_equal(written.truth[index][11:43, 11:43], patches.extract_patch(image, corner, 32))


def test_stage_keeps_image_and_truth_together(tmp_path):
    written = patch_storage.read(run_stage(tmp_path) / "train")
    green = written.images[..., 1]
    assert (green[written.truth] < 90).all()
    assert (green[written.fov & ~written.truth] > 90).all()


def test_stage_writes_the_same_bytes_again(tmp_path):
    first, second = (
        [path.read_bytes() for path in sorted(run_stage(tmp_path).rglob("*")) if path.is_file()] for _ in range(2)
    )
    assert len(first) == 8
    assert first == second


def test_stage_accepts_images_smaller_than_a_patch(tmp_path):
    out = run_stage(tmp_path, min_fov=0.2, size=160)
    assert patch_storage.read(out / "validation").fov.shape == (1, 160, 160)


def test_stage_without_a_patch_names_the_key(tmp_path):
    with pytest.raises(ValueError, match=r"patch.min_fov: expected a patch of .*train with an FOV fraction of 1"):
        run_stage(tmp_path, min_fov=1.0, size=96)


def test_stage_names_the_empty_fov(tmp_path):
    write_subset(tmp_path / "train")
    path = tmp_path / "train" / "phantom" / "fov" / "02.png"
    samples.write_bool(path, np.zeros((100, 110), bool))
    sections = Patch(size=32, stride=16, min_fov=0.3, context=1), Preprocess(fov_diameter=90, clahe_clip_limit=0)
    with pytest.raises(ValueError, match=r"02.png: expected at least one pixel"):
        stage.write_subset(tmp_path / "train", tmp_path / "out", 32, *sections)


def test_stage_names_the_truth_of_another_shape(tmp_path):
    write_subset(tmp_path / "train")
    samples.write_bool(tmp_path / "train" / "phantom" / "truth" / "02.png", np.zeros((110, 100), bool))
    sections = Patch(size=32, stride=16, min_fov=0.3, context=1), Preprocess(fov_diameter=90, clahe_clip_limit=0)
    with pytest.raises(ValueError, match=r"truth/02.png: expected 110x100 like the image, got 100x110"):
        stage.write_subset(tmp_path / "train", tmp_path / "out", 32, *sections)
