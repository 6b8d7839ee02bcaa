import os
from pathlib import Path

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

    def half(self: Path, content: bytes) -> None:
        with self.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(OSError, match=r"No space left on device: .*a\.bin"):
        files.write_bytes(path, b"afterwards")
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["a.bin"]
