import errno
import hashlib
import os

import pytest

from src import photographs


@pytest.fixture
def root(tmp_path):
    for name in ("a/01.JPG", "a/notes.txt", "a/deep/er/02.tiff", "b/01.jpg", "b/x[1].png", "out/01_vessels.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


def found(root, *given: str) -> list[str]:
    every = photographs.find([str(root / each) for each in given], root / "out")
    return [path.relative_to(root.resolve()).as_posix() for path in every]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["a"], ["a/01.JPG", "a/deep/er/02.tiff"]),
        (["a/notes.txt"], ["a/notes.txt"]),
        (["b/x[1].png"], ["b/x[1].png"]),
        (["*/01.*"], ["a/01.JPG", "b/01.jpg"]),
        (["**/*.tiff"], ["a/deep/er/02.tiff"]),
        (["a/01.JPG", "a"], ["a/01.JPG", "a/deep/er/02.tiff"]),
        (["?"], ["a/01.JPG", "a/deep/er/02.tiff", "b/01.jpg", "b/x[1].png", "nowhere.png"]),
        (["a", "out"], ["a/01.JPG", "a/deep/er/02.tiff"]),
        (["."], ["a/01.JPG", "a/deep/er/02.tiff", "b/01.jpg", "b/x[1].png", "nowhere.png"]),
    ],
)
def test_files_folders_and_patterns_are_found_once_and_sorted_but_no_results(root, given, expected):
    assert found(root, *given) == expected


@pytest.mark.parametrize("given", ["none.png", "c", "*.gif", "a/folder.png"])
def test_what_stands_for_no_file_is_named(root, given):
    with pytest.raises(FileNotFoundError, match=rf"{given.replace('*', '.')}: expected a file, a folder with pictures"):
        found(root, "a", given)


@pytest.mark.parametrize("given", ["out", "out/01_vessels.png", "out/*.png"])
def test_photographs_in_the_folder_of_results_are_not_mistaken_for_results(root, given):
    with pytest.raises(ValueError, match="expected photographs that do not lie in the folder of results"):
        found(root, given)


def test_links_to_folders_are_followed_once_and_to_themselves_are_named_later(root):
    (root / "c").mkdir()
    (root / "c" / "more").symlink_to(root / "a")
    (root / "c" / "again").symlink_to(root / "a")
    (root / "c" / "round").symlink_to(root / "c")
    (root / "c" / "itself.png").symlink_to(root / "c" / "itself.png")
    assert found(root, "c") == ["a/01.JPG", "a/deep/er/02.tiff", "c/itself.png"]


def test_folder_that_cannot_be_read_is_named(root, monkeypatch):
    def refused(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))

    monkeypatch.setattr(photographs.os, "scandir", refused)
    with pytest.raises(PermissionError, match=r"Permission denied: .*a'"):
        found(root, "a")


def test_a_name_is_the_stem_and_equal_ones_are_told_apart(root):
    files = photographs.find([str(root / "a"), str(root / "b")], root / "out")
    names = {path.name: name for path, name in photographs.named(files, {}).items()}
    upper, lower = (
        hashlib.sha256(str(root.resolve() / name).encode()).hexdigest()[:8] for name in ("a/01.JPG", "b/01.jpg")
    )
    assert names["01.JPG"] == f"01_{upper}"
    assert names["01.jpg"] == f"01_{lower}"
    assert (names["02.tiff"], names["x[1].png"]) == ("02", "x[1]")


def test_a_name_once_given_stays_and_is_given_to_no_other(root):
    first, second = photographs.find([str(root / "*" / "01.*")], root / "out")
    assert photographs.named([first], {}) == {first: "01"}
    both = photographs.named([first, second], {str(first): "01"})
    assert both[first] == "01"
    assert both[second].startswith("01_")
    assert photographs.named([second], {str(path): name for path, name in both.items()}) == {second: both[second]}
