import gzip
import io
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from image_file_builders import HEIGHT, TEST, WIDTH, annotation, custom_folder, encoded, fundus_image, load, put
from PIL import Image

from src.data import custom_dataset, entries


def load_all(root):
    load(entries.custom_entries("folder", root, TEST, 0.25, 1).test)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"truth/p1.png": None}, r"truth/p1\.\*: missing, though there is .*images/p1.jpg"),
        ({"images/p1.jpg": None}, r"images/p1\.\*: missing, though there is .*truth/p1.png"),
        ({"truth/p1_manual.png": annotation()}, r"images/p1_manual\.\*: missing, .* names must be the same"),
        ({"second_observer/p9.png": annotation()}, r"images/p9\.\*: missing"),
        ({"fov/p9.png": annotation()}, r"images/p9\.\*: missing"),
        ({"truth/p1.png": 255 - annotation()}, r"truth/p1.png: expected vessels in at most 50% .*, got 9\d% \(inver"),
        ({"second_observer/p1.png": 255 - annotation()}, r"second_observer/p1.png: expected vessels in at most 50%"),
        ({"images/p1.png": fundus_image()}, r"images/p1.png: expected one file named p1, got p1.jpg"),
        ({"images/notes.txt": b"x"}, "images/notes.txt: expected image files only"),
        (
            {"Groups.csv": b"id,group\np0,a\np1,a\n"},
            "Groups.csv: expected no folder or table but images, truth, fov, .*groups.csv",
        ),
        ({"images/p1.jpg": encoded(fundus_image(), ".jpg")[:-100]}, "images/p1.jpg: expected an image file"),
        ({"truth/p1.png": encoded(annotation(), ".png")[:-60]}, "truth/p1.png: expected an image file"),
        ({"images/p1.jpg": b""}, "images/p1.jpg: expected an image file"),
        (
            {"images/p1.jpg": np.zeros((HEIGHT, WIDTH, 3), np.uint8)},
            "images/p1.jpg: expected a field of view",
        ),
        ({"truth/p1.png": annotation((70, 60))}, "truth/p1.png: expected 70x60 like the image, got 60x70"),
        ({"groups.csv": b"id,group\np0,a\n"}, "groups.csv: .*no row for an image in images: p1"),
        ({"groups.csv": b"id,group\np0,a\np1,a\np7,a\n"}, "groups.csv: .*without an image in images: p7"),
        ({"groups.csv": b"id,group\np0,a\np1,a\np1,b\n"}, "groups.csv: .*an id twice: p1"),
        ({"groups.csv": b"name,group\np0,a\n"}, "groups.csv: expected the columns id,group"),
        ({"groups.csv": b"id,group\np0,a\x07\np1,a\n"}, r"groups.csv: expected groups of printable .*'a\\x07'"),
        ({"images/p\u202f1.jpg": fundus_image()}, r"images: expected file names of printable .*'p\\u202f1.jpg'"),
    ],
)
def test_custom_folder_that_does_not_fit_is_rejected_by_name(tmp_path, change, error):
    root = custom_folder(tmp_path, 2)
    for place, content in change.items():
        if content is None:
            (root / place).unlink()
        else:
            put(root, {place: content if isinstance(content, bytes) else encoded(content, Path(place).suffix)})
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        load_all(root)


def test_blanks_around_a_group_do_not_make_another_patient(tmp_path):
    root = custom_folder(tmp_path, 3)
    put(root, {"groups.csv": "id,group\np0,a\np1,a \n p2,\u00a0a\n".encode()})
    assert {image.group for image in custom_dataset.find("clinic", root)} == {"clinic-a"}


@pytest.mark.parametrize("name", ["images", "truth"])
def test_folder_that_is_a_link_is_rejected(tmp_path, name):
    root = custom_folder(tmp_path / "folder")
    (root / name).rename(tmp_path / "elsewhere")
    (root / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=f"folder/{name}: expected a folder, got a link"):
        load_all(root)


def test_empty_custom_folder_is_named(tmp_path):
    hint = ".*--temp.*--queue.*: give an absolute path"
    with pytest.raises(FileNotFoundError, match=rf"mine: expected a folder \(data.folder.path\), found none{hint}"):
        load_all(tmp_path / "mine")
    with pytest.raises(FileNotFoundError, match=rf"images: expected a folder .*{hint}"):
        load_all(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"images: expected at least one image, found none{hint}"):
        load_all(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"mine: expected a folder \(data.custom.clinic\), found none"):
        entries.custom_entries("clinic", tmp_path / "mine", TEST, 0.25, 1)


@pytest.mark.parametrize(("image_form", "truth_form"), [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_match_in_either_unicode_form(tmp_path, image_form, truth_form):
    name = "Müller_é"
    put(tmp_path, {f"images/{unicodedata.normalize(image_form, name)}.png": encoded(fundus_image(), ".png")})
    put(tmp_path, {f"truth/{unicodedata.normalize(truth_form, name)}.png": encoded(annotation(), ".png")})
    groups = f"id,group\n{unicodedata.normalize(image_form, name)},a\n"
    put(tmp_path, {"groups.csv": groups.encode()})
    (entry,) = entries.custom_entries("folder", tmp_path, TEST, 0.25, 1).test
    assert (entry.id, entry.group) == (unicodedata.normalize("NFC", name), "folder-a")


def test_other_files_are_ignored(tmp_path):
    root = custom_folder(tmp_path, 2)
    put(root, {"README.txt": b"x", "images.dvc": b"x", ".DS_Store": b"x"})
    put(root, {"images/._p0.jpg": b"x", "images/Thumbs.db": b"x", "images/@eaDir/p0.jpg/thumb.jpg": b"x"})
    load_all(root)


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".webp", ".ppm.gz"])
def test_images_of_further_suffixes_are_read(tmp_path, suffix):
    kinds = {".webp": "WEBP", ".ppm.gz": "PPM"}
    stream = io.BytesIO()
    Image.fromarray(fundus_image()).save(stream, kinds.get(suffix, "JPEG"), quality=95)
    content = gzip.compress(stream.getvalue()) if suffix == ".ppm.gz" else stream.getvalue()
    put(tmp_path, {f"images/a{suffix}": content, "truth/a.png": encoded(annotation(), ".png")})
    (entry,) = entries.custom_entries("folder", tmp_path, TEST, 0.25, 1).test
    assert entry.id == "a"
    assert entry.pixel_count() == HEIGHT * WIDTH
    assert np.abs(entry.load().image.astype(int) - fundus_image()).mean() < 4


def test_opaque_part_is_the_field_of_view_where_no_file_gives_it(tmp_path):
    opaque = np.zeros((HEIGHT, WIDTH), bool)
    opaque[5:50, 8:60] = True
    stream = io.BytesIO()
    bright = np.where(opaque[..., None], fundus_image(), 255).astype(np.uint8)
    Image.fromarray(np.dstack([bright, opaque * np.uint8(255)])).save(stream, "PNG")
    put(tmp_path, {"images/a.png": stream.getvalue(), "truth/a.png": encoded(annotation(), ".png")})
    assert np.array_equal(load(entries.custom_entries("folder", tmp_path, TEST, 0.25, 1).test)[0].fov, opaque)
    given = np.zeros_like(opaque)
    given[:, : WIDTH // 2] = True
    put(tmp_path, {"fov/a.png": encoded(given * np.uint8(255), ".png")})
    assert np.array_equal(load(entries.custom_entries("folder", tmp_path, TEST, 0.25, 1).test)[0].fov, given)


def test_opaque_label_beside_the_image_is_no_part_of_the_field_of_view(tmp_path):
    opaque = np.zeros((HEIGHT, WIDTH), bool)
    opaque[8:, 8:] = True
    label = np.zeros_like(opaque)
    label[:4, :4] = True
    stream = io.BytesIO()
    Image.fromarray(np.dstack([fundus_image(), (opaque | label) * np.uint8(255)])).save(stream, "PNG")
    put(tmp_path, {"images/a.png": stream.getvalue(), "truth/a.png": encoded(annotation(), ".png")})
    (image,) = load(entries.custom_entries("folder", tmp_path, TEST, 0.25, 1).test)
    assert np.array_equal(image.fov, opaque)
