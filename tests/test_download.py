import csv
import errno
import gzip
import hashlib
import io
import os
import signal
import subprocess
import tarfile
import time
import zipfile
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
import requests
from PIL import Image

from benchmarks import projects
from src import archives, datasets, decode, download, phantom, samples
from src.datasets import Subsets
from src.params import load_params
from src.root import real_root
from stages import download as stage

BOTH, TRAIN, TEST = Subsets(True, True), Subsets(True, False), Subsets(False, True)
HEIGHT, WIDTH = 60, 70


def drawn_image(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.hypot(y - size[0] / 2, x - size[1] / 2) < 0.45 * min(size)
    return np.where(inside[..., None], np.array([250 - 3 * seed % 150, 110, 60], np.uint8), np.uint8(0))


def drawn_truth(size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    truth = np.zeros(size, np.uint8)
    truth[size[0] // 2, 20:50] = 255
    return truth


def encoded(picture: np.ndarray, suffix: str) -> bytes:
    if suffix in (".gif", ".ppm"):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, suffix[1:])
        return stream.getvalue()
    bgr = picture[..., ::-1] if picture.ndim == 3 else picture
    return cv2.imencode(suffix.lower(), bgr)[1].tobytes()


def drawn_set(name: str) -> dict[str, bytes]:
    """A small drawn file for each official file of a set."""
    content = {}
    for number, record in enumerate(datasets.PUBLIC[name].records):
        content[record.image] = encoded(drawn_image(number), Path(record.image).suffix)
        for place in record.files()[1:]:
            picture = drawn_image()[..., 0] if place == record.fov else drawn_truth()
            content[place] = encoded(picture, Path(place).suffix)
    return content


def put(root: Path, content: dict[str, bytes]) -> None:
    for place, data in content.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(data)


def put_zip(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in content.items():
            archive.writestr(place, data)


def put_tar(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for place, data in content.items():
            info = tarfile.TarInfo(place)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def as_copy(entry: download.Entry) -> samples.Eye:
    return entry.load()._replace(id="copy")


def load(entries) -> list[samples.Eye]:
    return [entry.load() for entry in entries]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise ConnectionError("no network in tests")

    monkeypatch.delenv(download.VARIABLE, raising=False)
    monkeypatch.setattr(download.pooch, "retrieve", refuse)
    monkeypatch.setattr(download.time, "sleep", lambda seconds: None)


@pytest.fixture
def drawn(monkeypatch):
    """A function: the drawn files of a set, which from then on are the official ones."""

    def make(name: str) -> dict[str, bytes]:
        content = drawn_set(name)
        listed = {
            place: hashlib.sha256(data).hexdigest()
            for place, data in content.items()
            if place not in datasets.PUBLIC[name].unlisted
        }
        monkeypatch.setattr(datasets, "manifest", lambda asked: listed)
        return content

    return make


@pytest.mark.parametrize(
    ("name", "split", "places"),
    [
        ("drive", "20/20", ["DRIVE.zip", "DRIVE", "wrapped"]),
        ("chase_db1", "20/8", ["CHASEDB1.zip", "CHASE_DB1", "wrapped"]),
        ("hrf", "15/30", ["all.zip", "HRF.zip", "HRF", "wrapped"]),
        ("rbv", "80/20", ["archive.zip", "retina-blood-vessel.zip", "RBV", "wrapped"]),
    ],
)
def test_set_is_found_under_each_usual_name(tmp_path, drawn, name, split, places):
    content = drawn(name)
    for place in places:
        root = tmp_path / place
        kept = root / "data" / "archives"
        if place.endswith(".zip"):
            put_zip(kept / place, content)
        else:
            names = {"rbv": "RBV/v1/Data", "chase_db1": "CHASEDB1/a/b"}
            put(kept / (place if place != "wrapped" else names.get(name, f"{name.upper()}/a")), content)
        parts = download.public(name, split, BOTH, root)
        assert f"{len(parts.train)}/{len(parts.test)}" == split
        eye = parts.test[0].load()
        assert eye.image.shape == (HEIGHT, WIDTH, 3)
        assert eye.truth.sum() == 30
        assert eye.fov.any()


def test_drive_comes_in_two_archives(tmp_path, drawn, monkeypatch):
    content = drawn("drive")
    for part in ("training", "test"):
        put_zip(
            tmp_path / f"{part}.zip",
            {p.removeprefix(f"{part}/"): c for p, c in content.items() if p.startswith(part)},
        )
    (tmp_path / "data").mkdir()
    monkeypatch.setenv(download.VARIABLE, str(tmp_path))
    assert len(download.public("drive", "20/20", BOTH, tmp_path).train) == 20


@pytest.mark.parametrize("wrapped", [True, False])
def test_stare_members_are_gunzipped(tmp_path, drawn, wrapped):
    content = drawn("stare")
    for top in ("stare-images", "labels-ah", "labels-vk"):
        members = {
            (place if wrapped else Path(place).name) + ".gz": gzip.compress(data)
            for place, data in content.items()
            if place.startswith(top)
        }
        put_tar(tmp_path / "data" / "archives" / f"{top}.tar", members)
    train, test = download.public("stare", "10/10", BOTH, tmp_path)
    assert [entry.id for entry in train][:2] == ["im0001", "im0002"]
    assert all(eye.second_observer.sum() == 30 for eye in load(test))


def test_variable_comes_before_kept_archives(tmp_path, drawn, monkeypatch):
    content = drawn("chase_db1")
    put(tmp_path / "mine" / "CHASEDB1", content)
    put(tmp_path / "data" / "archives" / "CHASEDB1", dict.fromkeys(content, b"old"))
    monkeypatch.setenv(download.VARIABLE, str(tmp_path / "mine"))
    load(download.public("chase_db1", "8/20", TRAIN, tmp_path).train)


def test_variable_without_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(download.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none: expected a folder, as FUNDUS_ARCHIVES names it"):
        download.public("drive", "20/20", TEST, tmp_path)


def test_archive_is_fetched_and_kept(tmp_path, drawn, monkeypatch):
    content = drawn("chase_db1")
    monkeypatch.setattr(
        download.pooch, "retrieve", lambda url, digest, file, kept, downloader: put_zip(kept / file, content)
    )
    load(download.public("chase_db1", "8/20", TRAIN, tmp_path).train)
    assert (tmp_path / "data" / "archives" / "CHASEDB1.zip").exists()


def test_interrupted_download_is_completed(tmp_path, drawn, monkeypatch):
    content = drawn("stare")
    part = {place: data for place, data in content.items() if place.startswith("stare-images")}
    put_tar(tmp_path / "data" / "archives" / "stare-images.tar", part)
    fetched = []

    def retrieve(url, digest, file, kept, downloader):
        fetched.append(file)
        put_tar(kept / file, {p: c for p, c in content.items() if p.startswith(file.removesuffix(".tar"))})

    monkeypatch.setattr(download.pooch, "retrieve", retrieve)
    assert len(download.public("stare", "all", TEST, tmp_path).test) == 20
    assert fetched == ["labels-ah.tar", "labels-vk.tar"]


def test_page_in_place_of_an_archive_is_deleted(tmp_path, monkeypatch):
    def retrieve(url, digest, file, kept, downloader):
        put(kept, {file: b"<html>log in</html>"})

    monkeypatch.setattr(download.pooch, "retrieve", retrieve)
    with pytest.raises(FileNotFoundError, match=r"put CHASEDB1.zip into .*data/archives"):
        download.public("chase_db1", "20/8", TEST, tmp_path)
    assert not list((tmp_path / "data" / "archives").iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_disk_that_cannot_be_written_is_named_at_once(tmp_path, monkeypatch, code):
    tries = []

    def retrieve(*args, **kwargs):
        tries.append(args)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(download.pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=rf"CHASEDB1.zip: cannot be downloaded to here .*{os.strerror(code)}") as caught:
        download.public("chase_db1", "20/8", TEST, tmp_path)
    assert not isinstance(caught.value, FileNotFoundError)
    assert len(tries) == 1


@pytest.mark.parametrize("error", [requests.Timeout, requests.HTTPError, ConnectionError, TimeoutError])
def test_network_is_tried_again_and_its_reason_said(tmp_path, monkeypatch, error):
    tries = []

    def retrieve(*args, **kwargs):
        tries.append(args)
        raise error("server is asleep")

    monkeypatch.setattr(download.pooch, "retrieve", retrieve)
    with pytest.raises(FileNotFoundError, match=rf"not to be had from .*{error.__name__}: server is asleep"):
        download.public("chase_db1", "20/8", TEST, tmp_path)
    assert len(tries) == download.TRIES


@pytest.mark.parametrize("name", ["chase_db1", "stare", "hrf"])
def test_no_network_and_no_file_names_folder_and_phantoms(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}: not found in .*data/archives.*\[phantom\]"):
        download.public(name, "all", TEST, tmp_path)


@pytest.mark.parametrize(("name", "site"), [("drive", "drive.grand-challenge.org"), ("rbv", "kaggle.com")])
def test_set_behind_a_login_says_where_to_get_and_put_it(tmp_path, name, site):
    with pytest.raises(FileNotFoundError, match=rf"{site}.*put it into .*data/archives"):
        download.public(name, "all", TEST, tmp_path)


def test_missing_file_is_named(tmp_path, drawn):
    content = drawn("chase_db1")
    del content["Image_03L_1stHO.png"]
    put_zip(tmp_path / "data" / "archives" / "CHASEDB1.zip", content)
    with pytest.raises(FileNotFoundError, match=r"expected Image_03L_1stHO.png of chase_db1, missing"):
        download.public("chase_db1", "20/8", BOTH, tmp_path)


def test_drive_without_test_truth_says_so_and_still_trains(tmp_path, drawn):
    content = {place: data for place, data in drawn("drive").items() if not place.startswith(download.TEST_TRUTH)}
    put(tmp_path / "data" / "archives" / "DRIVE", content)
    assert len(download.public("drive", "20/20", TRAIN, tmp_path).train) == 20
    with pytest.raises(FileNotFoundError, match="copies of DRIVE since 2019 lack the truth of the test images"):
        download.public("drive", "20/20", TEST, tmp_path)


@pytest.mark.parametrize("how", ["truncated", "altered", "empty"])
def test_changed_file_is_named(tmp_path, drawn, how):
    content = drawn("chase_db1")
    good = content["Image_12R.jpg"]
    content["Image_12R.jpg"] = {"truncated": good[:-20], "altered": good[:-20] + bytes(20), "empty": b""}[how]
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    entries = {entry.id: entry for entry in download.public("chase_db1", "8/20", BOTH, tmp_path).train}
    with pytest.raises(ValueError, match=r"Image_12R.jpg: expected the official file \(SHA-256 "):
        entries["12R"].load()


def test_changed_file_that_is_not_used_is_named(tmp_path, drawn):
    content = drawn("chase_db1")
    content["Image_01L.jpg"] += b" "
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    with pytest.raises(ValueError, match=r"Image_01L.jpg: expected the official file"):
        download.public("chase_db1", "8/20", TRAIN, tmp_path)


def test_swapped_files_are_named(tmp_path, drawn):
    content = drawn("chase_db1")
    content["Image_11L.jpg"], content["Image_11R.jpg"] = content["Image_11R.jpg"], content["Image_11L.jpg"]
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    with pytest.raises(ValueError, match=r"Image_11L.jpg: .*, which is that of Image_11R.jpg"):
        download.public("chase_db1", "8/20", TRAIN, tmp_path).train[0].load()


def test_file_without_hash_is_refused_unless_known(tmp_path, drawn, monkeypatch):
    content = drawn("chase_db1")
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    monkeypatch.setattr(datasets, "manifest", lambda name: {})
    with pytest.raises(ValueError, match=r"chase_db1.sha256: expected the SHA-256 of Image_01L.jpg, found none"):
        download.public("chase_db1", "20/8", TEST, tmp_path)


def test_all_is_refused_where_trained_on(tmp_path):
    with pytest.raises(ValueError, match=r"data.splits.chase_db1: expected 20/8 or 8/20.*got all"):
        download.public("chase_db1", "all", BOTH, tmp_path)


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:/out.png"])
def test_member_outside_is_refused(tmp_path, name):
    put_zip(tmp_path / "a.zip", {name: b"x"})
    put_tar(tmp_path / "a.tar", {name: b"x"})
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        with pytest.raises(ValueError, match="which lies outside"):
            archives.files(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_link_in_a_tar_is_refused(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(ValueError, match="got the link or device 'link'"):
        archives.files(tmp_path / "a.tar")


def test_link_in_a_zip_is_refused(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="got the link 'link'"):
        archives.files(tmp_path / "a.zip")


def test_archive_too_large_unpacked_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_ARCHIVE", 10)
    put_zip(tmp_path / "a.zip", {"a": b"123456", "b": b"123456"})
    with pytest.raises(ValueError, match="at most 10 bytes unpacked"):
        archives.files(tmp_path / "a.zip")


def test_file_too_large_unpacked_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "LARGEST_FILE", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(5000)))
    with pytest.raises(ValueError, match=r"a.gz: expected at most 1000 bytes"):
        archives.read(archives.File(tmp_path / "a.gz"))


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_truncated_archive_is_named(tmp_path, drawn, suffix):
    content = drawn("chase_db1")
    path = tmp_path / "data" / "archives" / f"CHASEDB1{suffix}"
    (put_zip if suffix == ".zip" else put_tar)(path, content)
    whole = path.read_bytes() if suffix != ".tar.gz" else gzip.compress(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ValueError, FileNotFoundError), match=r"CHASEDB1|archives: expected Image"):
        load(download.public("chase_db1", "20/8", BOTH, tmp_path).test)


@pytest.mark.parametrize("suffix", [".gif", ".tif", ".ppm", ".png", ".jpg"])
def test_drawings_and_photographs_of_each_kind_are_read(suffix):
    assert (decode.drawing(encoded(drawn_truth(), suffix), "a") == (drawn_truth() > 127)).mean() > 0.99
    if suffix != ".gif":
        difference = decode.photograph(encoded(drawn_image(), suffix), "a").astype(int) - drawn_image()
        assert np.abs(difference).mean() < 4


def test_drive_second_observer_levels_and_rbv_greys_are_thresholded():
    for levels, expected in (([3, 253], [False, True]), ([127, 128], [False, True])):
        assert decode.drawing(encoded(np.array([levels], np.uint8), ".png"), "a").tolist() == [expected]


def test_first_frame_of_several_is_read():
    frames = [Image.fromarray(np.full((4, 5), level, np.uint8)) for level in (255, 0)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    assert decode.drawing(stream.getvalue(), "a").all()


def test_drawing_in_ones_is_refused():
    with pytest.raises(ValueError, match="a: expected a drawing in 0 and 255, got one whose brightest pixel is 1"):
        decode.drawing(encoded(np.eye(5, dtype=np.uint8), ".png"), "a")


def saved(picture: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(picture).save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_greys_keep_their_order(kind):
    ramp = np.arange(256, dtype=np.uint16)[None] * np.uint16(257)
    expected = np.arange(256)[None, :, None].repeat(3, axis=2)
    assert (decode.photograph(saved(ramp, kind), "a") == expected).all()
    assert (decode.drawing(saved(ramp, kind), "a") == (expected[..., 0] > 127)).all()


def test_eight_bit_drawing_in_a_sixteen_bit_file_is_read():
    drawing = drawn_truth().astype(np.uint16)
    assert (decode.drawing(saved(drawing, "PNG"), "a") == (drawing > 127)).all()


@pytest.mark.parametrize("read", [decode.photograph, decode.drawing])
@pytest.mark.parametrize(
    ("levels", "error"),
    [
        (np.array([[0.0, 1.0]], np.float32), "got one of floating-point numbers"),
        (np.array([[0, 65536]], np.int32), "got one with levels from 0 to 65536"),
        (np.array([[-1, 9]], np.int32), "got one with levels from -1 to 9"),
    ],
)
def test_picture_of_neither_8_nor_16_bits_is_refused(read, levels, error):
    with pytest.raises(ValueError, match=f"^a: expected a picture of 8 or 16 bits, {error}"):
        read(saved(levels, "TIFF"), "a")


def own_folder(root: Path, count: int = 4) -> Path:
    for number in range(count):
        put(root, {f"images/p{number}.jpg": encoded(drawn_image(), ".jpg")})
        put(root, {f"truth/p{number}.png": encoded(drawn_truth(), ".png")})
    return root


def own(root: Path, uses: Subsets = TEST) -> list[samples.Eye]:
    return load(download.own(root, uses, 0.25, 1).test)


def test_own_photographs_are_read(tmp_path):
    root = own_folder(tmp_path)
    put(root, {"second_observer/p1.png": encoded(drawn_truth(), ".png")})
    eyes = own(root)
    assert [eye.id for eye in eyes] == ["p0", "p1", "p2", "p3"]
    assert [eye.second_observer is not None for eye in eyes] == [False, True, False, False]
    assert len({eye.group for eye in eyes}) == 4


@pytest.mark.parametrize(("uses", "train", "test"), [(BOTH, 3, 1), (TRAIN, 4, 0), (TEST, 0, 4)])
def test_share_of_own_groups_is_tested_on(tmp_path, uses, train, test):
    parts = download.own(own_folder(tmp_path), uses, 0.25, 1)
    assert (len(parts.train), len(parts.test)) == (train, test)


def test_own_groups_stay_together(tmp_path):
    root = own_folder(tmp_path)
    put(root, {"groups.csv": b"id,group\np0,a\np1,a\np2,b\np3,b\n"})
    train, test = download.own(root, BOTH, 0.5, 1)
    assert {len({entry.group for entry in part}) for part in (train, test)} == {1}


def test_own_field_of_view_is_used(tmp_path):
    root = own_folder(tmp_path, 1)
    put(root, {"fov/p0.png": encoded(np.full((HEIGHT, WIDTH), 255, np.uint8), ".png")})
    assert own(root)[0].fov.all()


def test_field_of_view_is_found_where_a_single_one_is_missing(tmp_path):
    root = own_folder(tmp_path, 2)
    found = own(root)[1].fov
    put(root, {"fov/p0.png": encoded(np.full((HEIGHT, WIDTH), 255, np.uint8), ".png")})
    first, second = own(root)
    assert first.fov.all()
    assert not found.all()
    assert (second.fov == found).all()


def test_own_truth_without_vessels_is_allowed(tmp_path):
    root = own_folder(tmp_path, 1)
    put(root, {"truth/p0.png": encoded(np.zeros((HEIGHT, WIDTH), np.uint8), ".png")})
    assert not own(root)[0].truth.any()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"truth/p1.png": None}, r"truth/p1\.\*: missing, though there is .*images/p1.jpg"),
        ({"images/p1.jpg": None}, r"images/p1\.\*: missing, though there is .*truth/p1.png"),
        ({"truth/p1_manual.png": drawn_truth()}, r"images/p1_manual\.\*: missing, .* names must be the same"),
        ({"second_observer/p9.png": drawn_truth()}, r"images/p9\.\*: missing"),
        ({"fov/p9.png": drawn_truth()}, r"images/p9\.\*: missing"),
        ({"truth/p1.png": 255 - drawn_truth()}, r"truth/p1.png: expected vessels in at most 50% .*, got 9\d% \(inver"),
        ({"second_observer/p1.png": 255 - drawn_truth()}, r"second_observer/p1.png: expected vessels in at most 50%"),
        ({"images/p1.png": drawn_image()}, r"images/p1.png: expected one file named p1, got p1.jpg"),
        ({"images/notes.txt": b"x"}, "images/notes.txt: expected pictures only"),
        ({"images/p1.jpg": encoded(drawn_image(), ".jpg")[:-100]}, "images/p1.jpg: expected a whole picture"),
        ({"truth/p1.png": encoded(drawn_truth(), ".png")[:-60]}, "truth/p1.png: expected a whole picture"),
        ({"images/p1.jpg": b""}, "images/p1.jpg: expected a whole picture"),
        (
            {"images/p1.jpg": np.zeros((HEIGHT, WIDTH, 3), np.uint8)},
            "images/p1.jpg: expected a field of view",
        ),
        ({"truth/p1.png": drawn_truth((70, 60))}, "truth/p1.png: expected 60x70 like the image, got 70x60"),
        ({"groups.csv": b"id,group\np0,a\n"}, "groups.csv: .*no row for a photograph in images: p1"),
        ({"groups.csv": b"id,group\np0,a\np1,a\np7,a\n"}, "groups.csv: .*without a photograph in images: p7"),
        ({"groups.csv": b"id,group\np0,a\np1,a\np1,b\n"}, "groups.csv: .*an id twice: p1"),
        ({"groups.csv": b"name,group\np0,a\n"}, "groups.csv: expected the columns id,group"),
    ],
)
def test_own_folder_that_does_not_fit_is_refused_by_name(tmp_path, change, error):
    root = own_folder(tmp_path, 2)
    for place, content in change.items():
        if content is None:
            (root / place).unlink()
        else:
            put(root, {place: content if isinstance(content, bytes) else encoded(content, Path(place).suffix)})
    with pytest.raises((ValueError, FileNotFoundError), match=error):
        own(root)


def test_empty_own_folder_is_named(tmp_path):
    hint = ".*--temp.*--queue.*: give an absolute path"
    with pytest.raises(FileNotFoundError, match=rf"mine: expected a folder \(data.folder.path\), found none{hint}"):
        own(tmp_path / "mine")
    with pytest.raises(FileNotFoundError, match=rf"images: expected a folder .*{hint}"):
        own(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(FileNotFoundError, match=rf"images: expected at least one photograph, found none{hint}"):
        own(tmp_path)


def test_own_folder_is_read_from_the_current_folder_also_in_an_experiment(tmp_path, monkeypatch):
    params = load_params()
    checkout = tmp_path / ".dvc" / "tmp" / "exps" / "temp" / "tmp1"
    own_folder(tmp_path / "mine")
    own_folder(checkout / "mine", 3)
    monkeypatch.chdir(checkout)
    for path, count in (("mine", 3), (str(tmp_path / "mine"), 4)):
        folder = params.data.folder.model_copy(update={"path": path})
        data = params.data.model_copy(update={"folder": folder, "test": ["folder"]})
        assert len(stage.find("folder", data, params.phantom).test) == count


def test_one_own_group_cannot_be_shared_out(tmp_path):
    with pytest.raises(ValueError, match=r"data.folder.test: expected at least two groups"):
        download.own(own_folder(tmp_path, 1), BOTH, 0.5, 1)


def test_subsets_are_written_whole_and_alike(tmp_path):
    train, test = download.phantoms(3, 1, 128, 128, 1)
    for out in (tmp_path / "a", tmp_path / "b"):
        download.write(out, {**download.hold_out(train, 0.4, 1), "test": test})
    first, second = (
        {p.relative_to(o): p.read_bytes() for p in sorted(o.rglob("*.*")) if p.is_file()}
        for o in (tmp_path / "a", tmp_path / "b")
    )
    assert first == second
    assert {path.parts[0] for path in first} == {"train", "validation", "test"}
    assert [len(samples.find(tmp_path / "a" / subset)) for subset in ("train", "validation", "test")] == [
        2,
        1,
        1,
    ]


def test_failure_leaves_nothing_behind(tmp_path):
    root = own_folder(tmp_path / "own", 2)
    put(root, {"images/p1.jpg": b"broken"})
    with pytest.raises(ValueError, match=r"p1.jpg"):
        download.write(tmp_path / "out", {"test": download.own(root, TEST, 0.5, 1).test})
    assert not (tmp_path / "out").exists()


def test_same_eye_in_two_subsets_leaves_nothing_behind(tmp_path):
    train, _ = download.phantoms(2, 0, 128, 128, 1)
    copy = train[0]._replace(id="copy", load=partial(as_copy, train[0]))
    with pytest.raises(ValueError, match=r"^train/phantom/images/0000.png and test/phantom/images/copy.png show"):
        download.write(tmp_path / "out", {"train": train, "test": [copy]})
    assert not list((tmp_path / "out").iterdir())


def test_stage_writes_the_audit(tmp_path):
    params = load_params()
    drawn = params.phantom.model_copy(update={"train": 3, "test": 1, "height": 128, "width": 120})
    data = params.data.model_copy(update={"train": ["phantom"], "test": ["phantom"]})
    stage.main(tmp_path / "raw", tmp_path / "metrics" / "audit.csv", data, drawn)
    text = (tmp_path / "metrics" / "audit.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["subset"], row["images"], row["largest"]) for row in rows] == [
        ("train", "2", "120x128"),
        ("validation", "1", "120x128"),
        ("test", "1", "120x128"),
    ]


def test_stage_tells_what_is_implausible(tmp_path, capsys):
    params = load_params()
    root = own_folder(tmp_path / "own", 4)
    data = params.data.model_copy(
        update={
            "train": ["phantom"],
            "test": ["folder"],
            "folder": params.data.folder.model_copy(update={"path": str(root)}),
        }
    )
    drawn = params.phantom.model_copy(update={"train": 2, "height": 128, "width": 120})
    stage.main(tmp_path / "raw", tmp_path / "audit.csv", data, drawn)
    assert "warning: test/folder/truth/p0.png: expected vessels in 1% to 25%" in capsys.readouterr().err


def test_phantoms_have_ids_and_groups_of_their_own():
    train, test = download.phantoms(2, 2, 128, 128, 1)
    assert [entry.id for entry in (*train, *test)] == ["0000", "0001", "5000", "5001"]
    assert len({entry.group for entry in (*train, *test)}) == 4


def test_test_phantoms_do_not_depend_on_the_number_of_training_phantoms():
    few, many = (download.phantoms(train, 1, 128, 128, 1) for train in (1, 3))
    assert few.test[0][:3] == many.test[0][:3]
    eyes = load((*few.test, *many.test))
    assert (eyes[0].image == eyes[1].image).all()
    assert (eyes[0].image == phantom.draw(1, download.FIRST_TEST, 128, 128).image).all()


def test_nothing_is_held_out_where_the_share_is_zero(tmp_path):
    train, test = download.phantoms(2, 1, 128, 128, 1)
    report = download.write(tmp_path, {**download.hold_out(train, 0, 1), "test": test})
    assert [row[:3] for row in report.rows[1:]] == [("train", "phantom", 2), ("test", "phantom", 1)]
    assert samples.find(tmp_path / "validation", least=0) == []


def test_a_smaller_choice_of_photographs_is_part_of_a_larger_and_spares_phantoms():
    drawn = download.phantoms(3, 0, 128, 128, 1).train
    real = [entry._replace(dataset="drive") for entry in download.phantoms(9, 0, 128, 128, 1).train]
    few, more, every = (download.limit([*drawn, *real], most, 1) for most in (2, 5, None))
    assert [entry.dataset for entry in few] == ["phantom"] * 3 + ["drive"] * 2
    assert set(few) < set(more)
    assert every == [*drawn, *real]
    assert few != download.limit([*drawn, *real], 2, 2)


def test_one_group_cannot_be_validated_on():
    with pytest.raises(ValueError, match=r"data.validation: expected at least two groups"):
        download.hold_out(download.phantoms(1, 0, 128, 128, 1).train, 0.2, 1)


LARGE = {"phantom": {"train": 6, "test": 2, "height": 3000, "width": 3000}}  # one is drawn in ten seconds or more


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stage_that_is_stopped_while_it_draws_ends_in_seconds_and_leaves_no_process(tmp_path, number):
    projects.write_params(tmp_path, LARGE)
    command, streams = projects.commands()["download"], {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    options = {"cwd": tmp_path, "env": projects.environment(), "start_new_session": True, "text": True}
    process = subprocess.Popen(command, **options, **streams)
    drawing = drawing_processes(process)
    begin = time.monotonic()
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    _, alive = psutil.wait_procs([psutil.Process(process.pid), *drawing], timeout=6)
    for left in alive:
        left.kill()
    said = process.communicate()[1]
    assert not alive
    assert time.monotonic() - begin < 6
    if number != signal.SIGKILL:
        assert said.splitlines()[-1] == "stopped"
        assert "Traceback" not in said
        assert not list(tmp_path.glob("data/raw/*"))


def drawing_processes(stage: subprocess.Popen) -> list[psutil.Process]:
    """The workers of the stage, when each has computed for longer than it takes to start."""
    while True:
        assert stage.poll() is None, stage.stderr.read()
        children = psutil.Process(stage.pid).children()
        drawing = [child for child in children if "--multiprocessing-fork" in child.cmdline()]
        if drawing and all(child.cpu_times().user > 2 for child in drawing):
            return drawing
        time.sleep(0.1)


@pytest.mark.parametrize("inside", ["", "sub/project"])
@pytest.mark.parametrize("dvc_at_project", [True, False])
def test_real_root_of_an_experiment(tmp_path, inside, dvc_at_project):
    project = tmp_path / "repository" / inside
    dvc_root = project if dvc_at_project else tmp_path / "repository"
    checkout = dvc_root / ".dvc" / "tmp" / "exps" / "temp" / "tmp1"
    for git in (tmp_path / "repository" / ".git", checkout / ".git", checkout / inside):
        git.mkdir(parents=True, exist_ok=True)
    project.mkdir(parents=True, exist_ok=True)
    assert real_root(checkout / inside) == project
    assert real_root(project) == project


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "share"),
    [
        ("drive", "20/20", (0.06, 0.116)),
        ("chase_db1", "8/20", (0.05, 0.086)),
        ("rbv", "80/20", (0.05, 0.13)),
    ],
)
def test_real_set_is_whole_and_plausible(archives, monkeypatch, tmp_path, name, split, share):
    monkeypatch.setenv(download.VARIABLE, str(archives))
    train, test = download.public(name, split, BOTH, tmp_path)
    for eye in load((*train[::8], *test[::8])):  # of RBV no rotated ones: their corners are mirrored, with vessels
        assert share[0] <= eye.truth.mean() <= share[1]
        assert 0.6 < eye.fov.mean() < 0.75
        assert eye.truth[eye.fov].sum() > 0.99 * eye.truth.sum()
