import pytest
from image_file_builders import custom_folder, put

from src.common import atomic_io
from src.data import fingerprint_tables


def rows(folder, table):
    fingerprint_tables.write(table, folder)
    return dict(atomic_io.read_rows(table))


def test_fingerprint_has_the_hash_of_every_file(tmp_path):
    put(tmp_path, {"own/images/b.png": b"abc", "own/groups.csv": b""})
    assert rows(tmp_path / "own", tmp_path / "own.csv") == {
        "file": "sha256",
        "groups.csv": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "images/b.png": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }


def test_fingerprint_changes_with_content_and_names_not_with_place_or_leftovers(tmp_path):
    first, second = (custom_folder(tmp_path / place, 2) for place in ("a", "b"))
    before = rows(first, tmp_path / "table.csv")
    put(second, {"images/.DS_Store": b"x", "@eaDir/p0.jpg/thumb.jpg": b"x"})
    assert rows(second, tmp_path / "table.csv") == before
    put(second, {"truth/p1.png": b"other"})
    assert rows(second, tmp_path / "table.csv") != before
    (first / "truth" / "p1.png").rename(first / "truth" / "p2.png")
    assert rows(first, tmp_path / "table.csv") != before


def test_missing_folder_is_named_with_its_key(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"own: expected a folder \(data.custom.clinic\), found none"):
        fingerprint_tables.write(tmp_path / "clinic.csv", tmp_path / "own")


def test_name_that_is_no_text_is_rejected(tmp_path):
    put(tmp_path, {"own/images/a\udcff.png": b"abc"})
    with pytest.raises(
        ValueError, match=r"own: expected file names of printable characters, got 'images/a\\udcff.png'"
    ):
        fingerprint_tables.write(tmp_path / "own.csv", tmp_path / "own")
