import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src import checkpoints, files
from src.checkpoints import Checkpoint, Store

PARAMS = {"train": {"epochs": 3}}


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint({"begin": number, "rows": [["epoch"], [1, "0.5"]]}, {"weight.0": np.full((2, 3), number / 3)})


@pytest.fixture
def store(tmp_path) -> Store:
    store = Store(tmp_path / "checkpoints" / ("a" * 32))
    for number in (8, 9, 10):
        store.write(number, checkpoint(number))
    return store


def test_newest_is_what_was_written(store):
    found, expected = store.newest(), checkpoint(10)
    assert found.state == expected.state
    assert found.arrays.keys() == {"weight.0"}
    assert np.array_equal(found.arrays["weight.0"], expected.arrays["weight.0"])


def test_two_are_kept_and_nothing_else_lies_there(store):
    assert [path.name[:5] for path in store.paths()] == ["0010-", "0009-"]
    assert len(os.listdir(store.folder)) == 2


def test_no_checkpoint_is_none(tmp_path):
    assert Store(tmp_path / "none").newest() is None


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:200] + b"x" + b[201:]])
def test_damaged_checkpoint_is_named_and_the_one_before_it_used(store, damage, capsys):
    newest = store.paths()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    assert store.newest().state["begin"] == 9
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_all_damaged_is_none(store):
    for path in store.paths():
        path.write_bytes(b"")
    assert store.newest() is None


def test_file_left_by_a_kill_in_the_write_is_no_checkpoint(store):
    (store.folder / "0011-abc.npz.part").write_bytes(b"half")
    assert store.newest().state["begin"] == 10


def test_full_disk_is_a_warning_and_leaves_the_checkpoints_before(store, monkeypatch, capsys):
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    store.write(11, checkpoint(11))
    assert "epoch 11 has no checkpoint: [Errno 28] No space left on device" in capsys.readouterr().err
    assert [path.name[:5] for path in store.paths()] == ["0010-", "0009-"]
    assert len(os.listdir(store.folder)) == 2


def test_no_object_is_unpickled(tmp_path):
    store = Store(tmp_path)
    with pytest.raises(ValueError, match="allow_pickle"):
        store.write(1, Checkpoint({}, {"weight.0": np.array([{}], dtype=object)}))
    assert not store.paths()


def test_success_leaves_nothing(store):
    store.clear()
    assert not store.folder.exists()


def test_only_old_checkpoints_of_others_are_pruned(tmp_path):
    old = time.time() - 15 * 86400
    for letter, when in (("a", old), ("b", old), ("c", time.time())):
        folder = tmp_path / (letter * 32)
        Store(folder).write(1, checkpoint(1))
        for path in (*folder.iterdir(), folder):
            os.utime(path, (when, when))
    (tmp_path / "mine").mkdir()
    os.utime(tmp_path / "mine", (old, old))
    checkpoints.prune(tmp_path, days=14, but="b" * 32)
    assert sorted(os.listdir(tmp_path)) == ["b" * 32, "c" * 32, "mine"]


CLAIM = """
import sys, time
from pathlib import Path
from src.checkpoints import Store
store = Store(Path(sys.argv[1]))
print(store.claim(), flush=True)
time.sleep(60)
"""


def claimed_elsewhere(store: Store) -> subprocess.Popen:
    command = [sys.executable, "-c", CLAIM, str(store.folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    return process


def test_checkpoints_are_claimed_by_one_process_until_it_is_killed(store):
    with claimed_elsewhere(store) as other:
        assert not store.claim()
        other.kill()
    assert store.claim()
    assert len(store.paths()) == 2


def test_checkpoints_that_are_cleared_by_their_owner_can_be_claimed(tmp_path):
    folder = tmp_path / ("a" * 32)
    first, second = Store(folder), Store(folder)
    assert first.claim()
    first.clear()
    assert second.claim()


def test_checkpoints_that_were_just_claimed_are_not_pruned(store):
    old = time.time() - 15 * 86400
    for path in (*store.folder.iterdir(), store.folder):
        os.utime(path, (old, old))
    assert store.claim()
    checkpoints.prune(store.folder.parent, days=14, but="b" * 32)
    assert store.newest() is not None


def test_folder_that_cannot_be_made_is_a_warning_and_no_other_training(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert Store(tmp_path / "file" / "checkpoints").claim()
    assert "cannot be locked: [Errno 20] Not a directory" in capsys.readouterr().err


def test_recipe_is_that_of_params_inputs_versions_and_code(tmp_path, monkeypatch):
    (tmp_path / "images.npy").write_bytes(b"1")
    recipe = checkpoints.recipe(PARAMS, [tmp_path])
    assert checkpoints.recipe(PARAMS, [tmp_path]) == recipe
    recipes = {recipe, checkpoints.recipe({"train": {"epochs": 4}}, [tmp_path])}
    with monkeypatch.context() as context:
        context.setattr(checkpoints, "version", lambda name: "0")
        recipes.add(checkpoints.recipe(PARAMS, [tmp_path]))
    with monkeypatch.context() as context:
        context.setattr(checkpoints, "code", lambda: {"src.losses": tmp_path / "images.npy"})
        recipes.add(checkpoints.recipe(PARAMS, [tmp_path]))
    (tmp_path / "images.npy").write_bytes(b"2")
    recipes.add(checkpoints.recipe(PARAMS, [tmp_path]))
    assert len(recipes) == 5


def test_key_is_that_of_recipe_devices_processor_and_settings(monkeypatch):
    key = checkpoints.key("ab", [("CPU:0", None, None)])
    assert checkpoints.key("ab", [("CPU:0", None, None)]) == key
    keys = {key, checkpoints.key("cd", [("CPU:0", None, None)]), checkpoints.key("ab", [("GPU:0", "A100", (8, 0))])}
    with monkeypatch.context() as context:
        context.setenv("TF_ENABLE_ONEDNN_OPTS", "other")
        keys.add(checkpoints.key("ab", [("CPU:0", None, None)]))
    with monkeypatch.context() as context:
        context.setattr(checkpoints, "processor", lambda: ["another"])
        keys.add(checkpoints.key("ab", [("CPU:0", None, None)]))
    assert len(keys) == 5


def test_code_is_that_of_the_imported_modules():
    code = checkpoints.code()
    assert code["src.checkpoints"] == Path(checkpoints.__file__)
    assert all(name.split(".")[0] in ("src", "stages") for name in code)
