import errno
import hashlib
import os

import pytest

from src.inference import input_files


@pytest.fixture
def root(tmp_path):
    for name in ("a/01.JPG", "a/notes.txt", "a/deep/er/02.tiff", "b/01.jpg", "b/x[1].png", "out/01_vessels.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "folder.png").mkdir()
    (tmp_path / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


def found(root, *inputs: str) -> list[str]:
    files = input_files.find_images([str(root / each) for each in inputs], root / "out").images
    return [path.relative_to(root.resolve()).as_posix() for path in files]


@pytest.mark.parametrize(
    ("inputs", "expected"),
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
def test_files_folders_and_patterns_are_found_once_and_sorted_without_outputs(root, inputs, expected):
    assert found(root, *inputs) == expected


@pytest.mark.parametrize("given", ["none.png", "c", "*.gif", "a/folder.png"])
def test_input_that_matches_no_file_is_named(root, given):
    with pytest.raises(FileNotFoundError, match=rf"{given.replace('*', '.')}: expected a file, a folder with images"):
        found(root, "a", given)


@pytest.mark.parametrize("given", ["out", "out/01_vessels.png", "out/*.png"])
def test_files_in_the_output_folder_are_rejected_as_images(root, given):
    with pytest.raises(ValueError, match="expected images outside the output folder"):
        found(root, given)


def test_links_to_folders_are_followed_once_and_to_themselves_are_named_later(root):
    (root / "c").mkdir()
    (root / "c" / "more").symlink_to(root / "a")
    (root / "c" / "again").symlink_to(root / "a")
    (root / "c" / "round").symlink_to(root / "c")
    (root / "c" / "itself.png").symlink_to(root / "c" / "itself.png")
    assert found(root, "c") == ["a/01.JPG", "a/deep/er/02.tiff", "c/itself.png"]


def test_folder_that_cannot_be_read_is_named(root, monkeypatch):
    def deny(path, *_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))

    monkeypatch.setattr(input_files.os, "scandir", deny)
    with pytest.raises(PermissionError, match=r"Permission denied: .*a'"):
        found(root, "a")


def test_id_is_the_stem_and_equal_stems_get_a_hash(root):
    files = input_files.find_images([str(root / "a"), str(root / "b")], root / "out").images
    ids = {path.name: id_ for path, id_ in input_files.assign_ids(files, {}).items()}
    upper, lower = (
        hashlib.sha256(str(root.resolve() / name).encode()).hexdigest()[:8] for name in ("a/01.JPG", "b/01.jpg")
    )
    assert ids["01.JPG"] == f"01_{upper}"
    assert ids["01.jpg"] == f"01_{lower}"
    assert (ids["02.tiff"], ids["x[1].png"]) == ("02", "x[1]")


@pytest.mark.parametrize("character", ["a", "\u773c"])  # of one byte, and of three
def test_long_stem_is_cut_so_that_the_names_of_maps_are_allowed(tmp_path, character):
    stem = character * (240 // len(character.encode()))
    files = [tmp_path / f"{stem[:-1]}{end}.png" for end in "12"]
    ids = input_files.assign_ids(files, {})
    assert len(set(ids.values())) == 2
    for id_ in ids.values():
        assert id_.startswith(character * 40)
        (tmp_path / f"{id_}_probability.png.part").touch()


def test_assigned_id_stays_and_no_other_file_gets_it(root):
    first, second = input_files.find_images([str(root / "*" / "01.*")], root / "out").images
    assert input_files.assign_ids([first], {}) == {first: "01"}
    both = input_files.assign_ids([first, second], {str(first): "01"})
    assert both[first] == "01"
    assert both[second].startswith("01_")
    assert input_files.assign_ids([second], {str(path): id_ for path, id_ in both.items()}) == {second: both[second]}


def files_of_all_kinds(root) -> str:
    """A folder of images, of other files, and of what systems leave behind."""
    png, dicom = b"\x89PNG\r\n\x1a\n", bytes(128) + b"DICM"
    content = {
        "scan": png,
        "1.2.840.113619": dicom,
        "IM0001": dicom,
        "notes": b"x",
        "a.nef": b"II*\0",
        "b.PDF": b"",
        "c.7": b"",
    }
    for name in ("a.jpg", "b.jfif", "c.jpe", "d.webp", "e.jp2", "f.dcm", "g.ppm.gz", "deep/h.JPEG", "b.pdf"):
        content[name] = b""
    for name in ("._a.jpg", ".DS_Store", "Thumbs.db", "@eaDir/a.jpg/thumb.jpg", ".thumbnails/x.png", "__MACOSX/a.jpg"):
        content[name] = b""
    for name, data in content.items():
        (root / "mixed" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "mixed" / name).write_bytes(data)
    return str(root / "mixed")


def test_file_that_is_named_and_in_a_folder_is_counted_once(root):
    folder = root / "twice"
    (folder / "below").mkdir(parents=True)
    for name in ("scan.raw", "below/.hidden", "below/notes.txt", "below/a.png"):
        (folder / name).write_bytes(b"")
    files = input_files.find_images([str(folder), str(folder / "scan.raw")], root / "out")
    assert [path.name for path in files.images] == ["a.png", "scan.raw"]
    assert [path.name for path in files.other] == ["notes.txt"]
    for also in ("below", "../twice"):
        again = input_files.find_images([str(folder), str(folder / also)], root / "out")
        assert (len(again.other), len(again.hidden)) == (2, 1)


def test_images_are_told_by_suffix_or_content_and_others_are_counted_by_kind(root):
    folder = files_of_all_kinds(root)
    files = input_files.find_images([folder], root / "out")
    names = {path.name for path in files.images}
    named = {"a.jpg", "b.jfif", "c.jpe", "d.webp", "e.jp2", "f.dcm", "g.ppm.gz", "h.JPEG"}
    assert names == named | {"scan", "1.2.840.113619", "IM0001"}
    assert [path.name for path in files.other] == ["a.nef", "b.PDF", "b.pdf", "c.7", "notes"]
    assert len(files.hidden) == 6
    assert files.other_kinds().startswith("5 other files (2 .pdf, 1 ")
    assert files.messages() == [
        f"not read: {files.other_kinds()}: {folder}/a.nef, {folder}/b.PDF, {folder}/b.pdf, ...",
        "6 hidden or system files and folders are left out",
    ]


def test_pattern_leaves_out_hidden_files_unless_it_names_them(root):
    folder = files_of_all_kinds(root)
    thumb = [path.name for path in input_files.find_images([f"{folder}/**/*.jpg"], root / "out").images]
    assert thumb == ["a.jpg"]
    named = input_files.find_images([f"{folder}/@eaDir/**/*.jpg"], root / "out").images
    assert [path.name for path in named] == ["thumb.jpg"]
    assert input_files.find_images([f"{folder}/._a.jpg"], root / "out").images[0].name == "._a.jpg"


def test_home_folder_is_expanded(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root))
    for given in ("~/a/01.JPG", "~/a/0*.JPG"):
        assert [path.name for path in input_files.find_images([given], root / "out").images] == ["01.JPG"]


def test_folder_of_other_files_is_rejected_with_their_kinds(root):
    (root / "raw").mkdir()
    (root / "raw" / "a.nef").touch()
    with pytest.raises(FileNotFoundError, match=r"found 1 other file \(1 \.nef\)"):
        found(root, "raw")


def test_output_folder_within_the_images_is_not_counted(root):
    (root / "a" / "out").mkdir()
    (root / "a" / "out" / "predictions.csv").touch()
    files = input_files.find_images([str(root / "a")], root / "a" / "out")
    assert [path.name for path in files.other] == ["notes.txt"]
