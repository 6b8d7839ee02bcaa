import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from src.common import atomic_io
from src.training import checkpoint_store
from src.training.checkpoint_store import Checkpoint, CheckpointStore

PARAMS = {"train": {"epochs": 3}}


def checkpoint(number: int) -> Checkpoint:
    return Checkpoint({"begin": number, "rows": [["epoch"], [1, "0.5"]]}, {"weight.0": np.full((2, 3), number / 3)})


@pytest.fixture
def store(tmp_path) -> CheckpointStore:
    store = CheckpointStore(tmp_path / "checkpoints" / ("a" * 32))
    for number in (8, 9, 10):
        store.write(number, checkpoint(number))
    return store


def test_newest_is_what_was_written(store):
    found, expected = store.read_newest(), checkpoint(10)
    assert found.state == expected.state
    assert found.arrays.keys() == {"weight.0"}
    assert np.array_equal(found.arrays["weight.0"], expected.arrays["weight.0"])


def test_two_are_kept_and_nothing_else(store):
    assert [path.name[:5] for path in store.files()] == ["0010-", "0009-"]
    assert len(os.listdir(store.folder)) == 2


def test_no_checkpoint_is_none(tmp_path):
    assert CheckpointStore(tmp_path / "none").read_newest() is None


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b[:200] + b"x" + b[201:]])
def test_damaged_checkpoint_is_named_and_the_one_before_it_used(store, damage, capsys):
    newest = store.files()[0]
    newest.write_bytes(damage(newest.read_bytes()))
    assert store.read_newest().state["begin"] == 9
    assert f"{newest} is damaged" in capsys.readouterr().err


def test_all_damaged_is_none(store):
    for path in store.files():
        path.write_bytes(b"")
    assert store.read_newest() is None


def test_file_left_by_a_kill_in_the_write_is_no_checkpoint(store):
    (store.folder / "0011-abc.npz.part").write_bytes(b"half")
    assert store.read_newest().state["begin"] == 10


def test_full_disk_is_a_warning_and_leaves_the_checkpoints_before(store, monkeypatch, capsys):
    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_io.os, "fsync", full)
    store.write(11, checkpoint(11))
    assert "epoch 11 has no checkpoint: [Errno 28] No space left on device" in capsys.readouterr().err
    assert [path.name[:5] for path in store.files()] == ["0010-", "0009-"]
    assert len(os.listdir(store.folder)) == 2


def test_no_object_is_pickled(tmp_path):
    store = CheckpointStore(tmp_path)
    with pytest.raises(ValueError, match="allow_pickle"):
        store.write(1, Checkpoint({}, {"weight.0": np.array([{}], dtype=object)}))
    assert not store.files()


def test_delete_leaves_nothing(store):
    store.delete()
    assert not store.folder.exists()


def test_only_old_checkpoints_of_other_trainings_are_pruned(tmp_path):
    old = time.time() - 15 * 86400
    for letter, when in (("a", old), ("b", old), ("c", time.time())):
        folder = tmp_path / (letter * 32)
        CheckpointStore(folder).write(1, checkpoint(1))
        for path in (*folder.iterdir(), folder):
            os.utime(path, (when, when))
    (tmp_path / "no_key").mkdir()
    os.utime(tmp_path / "no_key", (old, old))
    checkpoint_store.prune(tmp_path, retention_days=14, kept_key="b" * 32)
    assert sorted(os.listdir(tmp_path)) == ["b" * 32, "c" * 32, "no_key"]


ACQUIRE = """
import sys, time
from pathlib import Path
from src.training.checkpoint_store import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
print(store.acquire(), flush=True)
time.sleep(60)
"""


def acquired_elsewhere(store: CheckpointStore) -> subprocess.Popen:
    command = [sys.executable, "-c", ACQUIRE, str(store.folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "True\n"
    return process


def test_checkpoints_are_locked_by_one_process_until_it_is_killed(store):
    with acquired_elsewhere(store) as other:
        assert not store.acquire()
        other.kill()
    assert store.acquire()
    assert len(store.files()) == 2


def test_deleted_checkpoints_can_be_locked_again(tmp_path):
    folder = tmp_path / ("a" * 32)
    first, second = CheckpointStore(folder), CheckpointStore(folder)
    assert first.acquire()
    first.delete()
    assert second.acquire()


def test_checkpoints_that_were_just_locked_are_not_pruned(store):
    old = time.time() - 15 * 86400
    for path in (*store.folder.iterdir(), store.folder):
        os.utime(path, (old, old))
    assert store.acquire()
    checkpoint_store.prune(store.folder.parent, retention_days=14, kept_key="b" * 32)
    assert store.read_newest() is not None


def test_folder_that_cannot_be_made_is_a_warning(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert CheckpointStore(tmp_path / "file" / "checkpoints").acquire()
    assert "cannot be locked: [Errno 20] Not a directory" in capsys.readouterr().err


def test_fingerprint_depends_on_params_inputs_versions_and_code(tmp_path, monkeypatch):
    (tmp_path / "images.npy").write_bytes(b"1")
    fingerprint = checkpoint_store.training_fingerprint(PARAMS, [tmp_path])
    assert checkpoint_store.training_fingerprint(PARAMS, [tmp_path]) == fingerprint
    fingerprints = {fingerprint, checkpoint_store.training_fingerprint({"train": {"epochs": 4}}, [tmp_path])}
    with monkeypatch.context() as context:
        context.setattr(checkpoint_store, "version", lambda name: "0")
        fingerprints.add(checkpoint_store.training_fingerprint(PARAMS, [tmp_path]))
    with monkeypatch.context() as context:
        context.setattr(checkpoint_store, "imported_code", lambda: {"src.models.losses": tmp_path / "images.npy"})
        fingerprints.add(checkpoint_store.training_fingerprint(PARAMS, [tmp_path]))
    (tmp_path / "images.npy").write_bytes(b"2")
    fingerprints.add(checkpoint_store.training_fingerprint(PARAMS, [tmp_path]))
    assert len(fingerprints) == 5


def test_key_depends_on_fingerprint_devices_processor_and_settings(monkeypatch):
    key = checkpoint_store.checkpoint_key("ab", [("CPU:0", None, None)])
    assert checkpoint_store.checkpoint_key("ab", [("CPU:0", None, None)]) == key
    keys = {
        key,
        checkpoint_store.checkpoint_key("cd", [("CPU:0", None, None)]),
        checkpoint_store.checkpoint_key("ab", [("GPU:0", "A100", (8, 0))]),
    }
    with monkeypatch.context() as context:
        context.setenv("TF_ENABLE_ONEDNN_OPTS", "other")
        keys.add(checkpoint_store.checkpoint_key("ab", [("CPU:0", None, None)]))
    with monkeypatch.context() as context:
        context.setattr(checkpoint_store, "describe_processor", lambda: ["another"])
        keys.add(checkpoint_store.checkpoint_key("ab", [("CPU:0", None, None)]))
    assert len(keys) == 5


def test_imported_code_is_of_this_project_alone():
    code = checkpoint_store.imported_code()
    assert code["src.training.checkpoint_store"] == Path(checkpoint_store.__file__)
    assert all(name.split(".")[0] in ("src", "stages", "experiments") for name in code)
