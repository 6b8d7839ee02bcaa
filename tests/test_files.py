import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from src import files, patches


def test_text_is_written_below_a_new_folder(tmp_path):
    files.write_text(tmp_path / "new" / "a.txt", "é\n")
    assert (tmp_path / "new" / "a.txt").read_text(encoding="utf-8") == "é\n"
    assert os.listdir(tmp_path / "new") == ["a.txt"]


def test_cell_with_a_comma_is_quoted_and_none_is_empty(tmp_path):
    files.write_rows(tmp_path / "a.csv", [("id", "score"), ("left, upper", None)])
    assert (tmp_path / "a.csv").read_text(encoding="utf-8") == 'id,score\n"left, upper",\n'


def test_full_disk_leaves_what_was_there_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.bin"):
        files.write_bytes(path, b"afterwards")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.fixture
def told(monkeypatch) -> list[tuple[str, str]]:
    """What the disk is told, in order: ("sync", name of a file or folder) and ("rename", the new name)."""
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


def test_file_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, told):
    files.write_bytes(tmp_path / "a.bin", b"whole")
    assert told == [("sync", "a.bin.part"), ("rename", "a.bin"), ("sync", tmp_path.name)]


def test_folder_has_its_name_after_all_that_is_in_it_is_on_the_disk(tmp_path, told):
    (tmp_path / "part" / "inner").mkdir(parents=True)
    (tmp_path / "part" / "inner" / "a").write_bytes(b"whole")
    files.publish(tmp_path / "part", tmp_path / "out")
    assert sorted(told[:3]) == [("sync", "a"), ("sync", "inner"), ("sync", "part")]
    assert told[3:] == [("rename", "out"), ("sync", tmp_path.name)]
    assert (tmp_path / "out" / "inner" / "a").read_bytes() == b"whole"


def test_patches_are_on_the_disk_before_they_have_their_names(tmp_path, told):
    with patches.PatchWriter(tmp_path, 1, 4) as writer:
        writer.write(0, np.ones((4, 4, 3), np.uint8), np.ones((4, 4), bool), np.ones((4, 4), bool))
    for kind in patches.Patches._fields:
        place = told.index(("rename", f"{kind}.npy"))
        assert told[place - 1] == ("sync", f"{kind}.part")
        assert told[place + 1] == ("sync", tmp_path.name)


def test_one_module_gives_files_their_names():
    root = Path(__file__).parents[1]
    renaming = {
        path.name
        for folder in ("src", "stages")
        for path in (root / folder).glob("*.py")
        if "os.replace" in path.read_text(encoding="utf-8")
    }
    assert renaming == {"files.py"}


def test_lack_of_space_is_said_in_one_sentence_with_both_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr(files.shutil, "disk_usage", lambda path: SimpleNamespace(free=99))
    files.refuse_lack_of_space(tmp_path / "new" / "er", 99)
    with pytest.raises(OSError, match=rf"^{tmp_path}/new: expected 100 bytes free on the disk .*, got 99$"):
        files.refuse_lack_of_space(tmp_path / "new", 99.6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_write_in_hand_is_finished_before_an_interrupt(tmp_path, monkeypatch, number):
    def interrupted(file: int) -> None:
        signal.raise_signal(number)
        sync(file)

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    sync, before = os.fsync, signal.signal(number, stop)
    monkeypatch.setattr(files.os, "fsync", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            files.write_bytes(tmp_path / "a.bin", b"whole")
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)
    assert (tmp_path / "a.bin").read_bytes() == b"whole"
    assert os.listdir(tmp_path) == ["a.bin"]
