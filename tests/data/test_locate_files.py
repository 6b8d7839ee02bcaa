import errno
import gzip
import os
from functools import partial
from pathlib import Path

import pytest
import requests
from image_file_builders import (
    BOTH,
    HEIGHT,
    TEST,
    TRAIN,
    WIDTH,
    block_network,
    load,
    make_official,
    put,
    put_tar,
    put_zip,
)

from src.data import entries, locate_files


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    block_network(monkeypatch)


@pytest.fixture
def official_files(monkeypatch):
    """A function: small files of a public data set, which from then on are the official ones."""
    return partial(make_official, monkeypatch)


def test_file_that_macos_leaves_beside_an_archive_is_no_archive(tmp_path, official_files):
    kept = tmp_path / "data" / "archives"
    put_zip(kept / "DRIVE.zip", official_files("drive"))
    (kept / "._DRIVE.zip").write_bytes(b"attributes")
    assert len(entries.public_entries("drive", "20/20", BOTH, tmp_path).train) == 20


@pytest.mark.parametrize(
    ("name", "split", "places"),
    [
        ("drive", "20/20", ["DRIVE.zip", "DRIVE", "wrapped"]),
        ("chase_db1", "20/8", ["CHASEDB1.zip", "CHASE_DB1", "wrapped"]),
        ("hrf", "15/30", ["all.zip", "HRF.zip", "HRF", "wrapped"]),
        ("rbv", "80/20", ["archive.zip", "retina-blood-vessel.zip", "RBV", "wrapped"]),
        ("dr_hagis", "20/20", ["DRHAGIS.zip", "DR_HAGIS", "wrapped"]),
        ("les_av", "11/11", ["LES-AV.zip", "LES-AV", "wrapped"]),
        ("fives", "600/200", ["FIVES.zip", "FIVES A Fundus Image Dataset for AI-based Vessel Segmentation"]),
    ],
)
def test_data_set_is_found_under_each_usual_name(tmp_path, official_files, name, split, places):
    content = official_files(name)
    for place in places:
        root = tmp_path / place
        kept = root / "data" / "archives"
        if place.endswith(".zip"):
            put_zip(kept / place, content)
        else:
            names = {"rbv": "RBV/v1/Data", "chase_db1": "CHASEDB1/a/b"}
            put(kept / (place if place != "wrapped" else names.get(name, f"{name.upper()}/a")), content)
        parts = entries.public_entries(name, split, BOTH, root)
        assert f"{len(parts.train)}/{len(parts.test)}" == split
        labelled = parts.test[0].load()
        assert labelled.image.shape == (HEIGHT, WIDTH, 3)
        assert labelled.truth.sum() == 30
        assert labelled.fov.any()


def test_drive_comes_in_two_archives(tmp_path, official_files, monkeypatch):
    content = official_files("drive")
    for part in ("training", "test"):
        put_zip(
            tmp_path / f"{part}.zip",
            {p.removeprefix(f"{part}/"): c for p, c in content.items() if p.startswith(part)},
        )
    (tmp_path / "data").mkdir()
    monkeypatch.setenv(locate_files.VARIABLE, str(tmp_path))
    assert len(entries.public_entries("drive", "20/20", BOTH, tmp_path).train) == 20


@pytest.mark.parametrize("wrapped", [True, False])
def test_stare_members_are_gunzipped(tmp_path, official_files, wrapped):
    content = official_files("stare")
    for top in ("stare-images", "labels-ah", "labels-vk"):
        members = {
            (place if wrapped else Path(place).name) + ".gz": gzip.compress(data)
            for place, data in content.items()
            if place.startswith(top)
        }
        put_tar(tmp_path / "data" / "archives" / f"{top}.tar", members)
    train, test = entries.public_entries("stare", "10/10", BOTH, tmp_path)
    assert [entry.id for entry in train][:2] == ["im0001", "im0002"]
    assert all(labelled.second_observer.sum() == 30 for labelled in load(test))


def test_variable_comes_before_kept_archives(tmp_path, official_files, monkeypatch):
    content = official_files("chase_db1")
    put(tmp_path / "mine" / "CHASEDB1", content)
    put(tmp_path / "data" / "archives" / "CHASEDB1", dict.fromkeys(content, b"old"))
    monkeypatch.setenv(locate_files.VARIABLE, str(tmp_path / "mine"))
    load(entries.public_entries("chase_db1", "8/20", TRAIN, tmp_path).train)


def test_variable_without_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv(locate_files.VARIABLE, str(tmp_path / "none"))
    with pytest.raises(FileNotFoundError, match="none: expected a folder, as FUNDUS_ARCHIVES names it"):
        entries.public_entries("drive", "20/20", TEST, tmp_path)


def test_archive_is_downloaded_and_kept(tmp_path, official_files, monkeypatch):
    content = official_files("chase_db1")
    monkeypatch.setattr(
        locate_files.pooch, "retrieve", lambda url, digest, file, kept, downloader: put_zip(kept / file, content)
    )
    load(entries.public_entries("chase_db1", "8/20", TRAIN, tmp_path).train)
    assert (tmp_path / "data" / "archives" / "CHASEDB1.zip").exists()


def test_interrupted_download_is_completed(tmp_path, official_files, monkeypatch):
    content = official_files("stare")
    part = {place: data for place, data in content.items() if place.startswith("stare-images")}
    put_tar(tmp_path / "data" / "archives" / "stare-images.tar", part)
    fetched = []

    def retrieve(url, digest, file, kept, downloader):
        fetched.append(file)
        put_tar(kept / file, {p: c for p, c in content.items() if p.startswith(file.removesuffix(".tar"))})

    monkeypatch.setattr(locate_files.pooch, "retrieve", retrieve)
    assert len(entries.public_entries("stare", "all", TEST, tmp_path).test) == 20
    assert fetched == ["labels-ah.tar", "labels-vk.tar"]


def test_web_page_instead_of_an_archive_is_deleted(tmp_path, monkeypatch):
    def retrieve(url, digest, file, kept, downloader):
        put(kept, {file: b"<html>log in</html>"})

    monkeypatch.setattr(locate_files.pooch, "retrieve", retrieve)
    with pytest.raises(FileNotFoundError, match=r"put CHASEDB1.zip into .*data/archives"):
        entries.public_entries("chase_db1", "20/8", TEST, tmp_path)
    assert not list((tmp_path / "data" / "archives").iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_unwritable_disk_is_named_without_a_second_try(tmp_path, monkeypatch, code):
    tries = []

    def retrieve(*args, **kwargs):
        tries.append(args)
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(locate_files.pooch, "retrieve", retrieve)
    with pytest.raises(OSError, match=rf"CHASEDB1.zip: cannot be downloaded to here .*{os.strerror(code)}") as caught:
        entries.public_entries("chase_db1", "20/8", TEST, tmp_path)
    assert not isinstance(caught.value, FileNotFoundError)
    assert len(tries) == 1


@pytest.mark.parametrize("error", [requests.Timeout, requests.HTTPError, ConnectionError, TimeoutError])
def test_network_error_is_retried_and_named(tmp_path, monkeypatch, error):
    tries = []

    def retrieve(*args, **kwargs):
        tries.append(args)
        raise error("server is asleep")

    monkeypatch.setattr(locate_files.pooch, "retrieve", retrieve)
    with pytest.raises(FileNotFoundError, match=rf"not to be had from .*{error.__name__}: server is asleep"):
        entries.public_entries("chase_db1", "20/8", TEST, tmp_path)
    assert len(tries) == locate_files.TRIES


@pytest.mark.parametrize("name", ["chase_db1", "stare", "hrf"])
def test_without_network_the_message_names_folder_and_phantom(tmp_path, name):
    with pytest.raises(FileNotFoundError, match=rf"{name}: not found in .*data/archives.*\[phantom\]"):
        entries.public_entries(name, "all", TEST, tmp_path)


@pytest.mark.parametrize(("name", "site"), [("drive", "drive.grand-challenge.org"), ("rbv", "kaggle.com")])
def test_data_set_behind_a_login_says_where_to_get_and_put_it(tmp_path, name, site):
    with pytest.raises(FileNotFoundError, match=rf"{site}.*put it into .*data/archives"):
        entries.public_entries(name, "all", TEST, tmp_path)


def test_missing_file_is_named(tmp_path, official_files):
    content = official_files("chase_db1")
    del content["Image_03L_1stHO.png"]
    put_zip(tmp_path / "data" / "archives" / "CHASEDB1.zip", content)
    with pytest.raises(FileNotFoundError, match=r"expected Image_03L_1stHO.png of chase_db1, missing"):
        entries.public_entries("chase_db1", "20/8", BOTH, tmp_path)


def test_drive_without_test_truth_says_so_and_still_trains(tmp_path, official_files):
    content = {
        place: data for place, data in official_files("drive").items() if not place.startswith(locate_files.TEST_TRUTH)
    }
    put(tmp_path / "data" / "archives" / "DRIVE", content)
    assert len(entries.public_entries("drive", "20/20", TRAIN, tmp_path).train) == 20
    with pytest.raises(FileNotFoundError, match="copies of DRIVE since 2019 lack the ground truth of the test images"):
        entries.public_entries("drive", "20/20", TEST, tmp_path)


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_truncated_archive_is_named(tmp_path, official_files, suffix):
    content = official_files("chase_db1")
    path = tmp_path / "data" / "archives" / f"CHASEDB1{suffix}"
    (put_zip if suffix == ".zip" else put_tar)(path, content)
    whole = path.read_bytes() if suffix != ".tar.gz" else gzip.compress(path.read_bytes())
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((ValueError, FileNotFoundError), match=r"CHASEDB1|archives: expected Image"):
        load(entries.public_entries("chase_db1", "20/8", BOTH, tmp_path).test)
