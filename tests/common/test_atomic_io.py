import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from src.common import atomic_io
from src.preprocessing import patch_storage


def test_text_is_written_below_a_new_folder(tmp_path):
    atomic_io.write_text(tmp_path / "new" / "a.txt", "é\n")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "é\n"
    assert os.listdir(tmp_path / "new") == ["a.txt"]


def test_cell_with_a_comma_is_quoted_and_none_is_empty(tmp_path):
    atomic_io.write_rows(tmp_path / "a.csv", [("id", "score"), ("left, upper", None)])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'id,score\n"left, upper",\n'


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_io.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.bin"):
        atomic_io.write_bytes(path, b"afterwards")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.fixture
def disk_calls(monkeypatch) -> list[tuple[str, str]]:
    """Calls to the disk, in order: ("sync", name of a file or folder) and ("rename", the new name)."""
    calls, sync, replace = [], os.fsync, os.replace

    def synced(number: int) -> None:
        calls.append(("sync", Path(os.readlink(f"/proc/self/fd/{number}")).name))
        sync(number)

    def renamed(part: Path, path: Path) -> None:
        calls.append(("rename", Path(path).name))
        replace(part, path)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", renamed)
    return calls


def test_content_is_synced_before_the_rename_and_the_folder_after(tmp_path, disk_calls):
    atomic_io.write_bytes(tmp_path / "a.bin", b"whole")
    assert disk_calls == [("sync", "a.bin.part"), ("rename", "a.bin"), ("sync", tmp_path.name)]


def test_folder_is_renamed_after_all_its_files_are_synced(tmp_path, disk_calls):
    (tmp_path / "part" / "inner").mkdir(parents=True)
    (tmp_path / "part" / "inner" / "a").write_bytes(b"whole")
    atomic_io.atomic_rename(tmp_path / "part", tmp_path / "out")
    assert sorted(disk_calls[:3]) == [("sync", "a"), ("sync", "inner"), ("sync", "part")]
    assert disk_calls[3:] == [("rename", "out"), ("sync", tmp_path.name)]
    assert (tmp_path / "out" / "inner" / "a").read_bytes() == b"whole"


def test_patches_are_synced_before_they_are_renamed(tmp_path, disk_calls):
    with patch_storage.PatchWriter(tmp_path, 1, 4) as writer:
        writer.write(0, np.ones((4, 4, 3), np.uint8), np.ones((4, 4), bool), np.ones((4, 4), bool))
    for kind in patch_storage.Patches._fields:
        place = disk_calls.index(("rename", f"{kind}.npy"))
        assert disk_calls[place - 1] == ("sync", f"{kind}.part")
        assert disk_calls[place + 1] == ("sync", tmp_path.name)


def test_only_one_module_renames_files():
    root = Path(__file__).parents[2]
    renaming = {
        path.name
        for folder in ("src", "stages")
        for path in (root / folder).rglob("*.py")
        if "os.replace" in path.read_text(encoding="utf-8")
    }
    assert renaming == {"atomic_io.py"}


def test_lack_of_space_is_one_message_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic_io.shutil, "disk_usage", lambda path: SimpleNamespace(free=99))
    atomic_io.check_free_space(tmp_path / "new" / "er", 99)
    with pytest.raises(OSError, match=rf"^{tmp_path}/new: expected 100 bytes free on the disk .*, got 99$"):
        atomic_io.check_free_space(tmp_path / "new", 99.6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_deferred_until_the_file_is_written(tmp_path, monkeypatch, number):
    def interrupted(file: int) -> None:
        signal.raise_signal(number)
        sync(file)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    sync, before = os.fsync, signal.signal(number, stop)
    monkeypatch.setattr(atomic_io.os, "fsync", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            atomic_io.write_bytes(tmp_path / "a.bin", b"whole")
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a.bin"]
