"""A full disk: a stage says so in one sentence, leaves no half of a file, and goes on once there is space again."""

import errno
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from src.common import atomic_io
from src.data import samples
from src.data.entries import synthetic_entries
from src.params import Baselines, Params, load_params
from stages import augment, baselines, patch
from stages import download as download_stage

SMALL = {
    "patch": {"size": 32, "stride": 64, "context": 2.5},
    "preprocess": {"fov_diameter": 110},
    "augment": {"n_per_patch": 1},
}


@pytest.fixture(scope="module")
def params() -> Params:
    values = load_params().model_dump()
    for section, changed in SMALL.items():
        values[section] |= changed
    return Params.model_validate(values)


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Raw data that a download stage wrote before."""
    root = tmp_path_factory.mktemp("raw")
    train, test = synthetic_entries(2, 1, 128, 128, 1)
    for subset, entries in (("train", train), ("validation", ()), ("test", test)):
        for entry in entries:
            samples.write_labelled_image(root / subset, entry.dataset, entry.load())
        samples.write_table(root / subset, [(entry.dataset, entry.id, entry.group) for entry in entries])
    return root


@pytest.fixture
def stages(raw, params, tmp_path) -> dict[str, Callable[[], None]]:
    """The stages that write large files, ready to run."""
    data = params.data.model_copy(update={"train": ["phantom"], "test": ["phantom"], "validation_fraction": 0.0})
    phantom = params.phantom.model_copy(update={"n_train": 2, "n_test": 1, "height": 128, "width": 128})
    cut = tmp_path / "patches"
    patch.main(raw / "train", raw / "validation", cut, params.patch, params.preprocess)
    one = Baselines(filters=["matched_filter"])
    return {
        "download": partial(
            download_stage.main,
            tmp_path / "fingerprints",
            tmp_path / "out" / "raw",
            tmp_path / "out" / "audit.csv",
            data,
            phantom,
        ),
        "patch": partial(
            patch.main, raw / "train", raw / "validation", tmp_path / "out", params.patch, params.preprocess
        ),
        "augment": partial(augment.main, cut / "train", tmp_path / "out", params.patch.size, params.augment),
        "baselines": partial(baselines.main, raw / "train", raw / "test", tmp_path / "out", one, params.preprocess),
    }


@pytest.mark.parametrize("name", ["download", "patch", "augment", "baselines"])
def test_stage_without_space_fails_before_it_writes(stages, tmp_path, monkeypatch, name):
    monkeypatch.setattr(atomic_io.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(OSError, match=r"^.*out.*: expected \d+ bytes free on the disk .*, got 1000$"):
        stages[name]()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["patch", "augment", "baselines"])
def test_disk_that_fills_up_leaves_no_half_and_the_next_run_goes_on(stages, tmp_path, monkeypatch, name):
    out = tmp_path / "out"
    stages[name]()
    expected = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for path in expected:
        path.unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(atomic_io.os, "fsync", full)
        context.setattr("src.preprocessing.patch_storage._ArrayFile.write", full)
        with pytest.raises(OSError, match="No space left on device"):
            stages[name]()
    assert [path for path in tmp_path.rglob("*.part*") if path.is_file()] == []
    assert [path for path in out.rglob("*") if path.is_file()] == []
    stages[name]()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == expected
