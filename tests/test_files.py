import os
import signal
from types import SimpleNamespace

import pytest

from src import files


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
