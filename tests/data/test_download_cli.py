import hashlib

import pytest

from src.data import datasets, download_cli
from src.data.dataset_types import DataSet, Record
from src.data.image_files import ImageFiles

RECORD = Record("01", "tiny-01", ImageFiles("images/01.png", "truth/01.png", "fov/01.png"))
TINY = DataSet("tiny", "Tiny, one image. CC0.", ("tiny",), (RECORD,), {"1/0": frozenset(["01"])}, by_hand="write to us")


@pytest.fixture
def archives(tmp_path, monkeypatch):
    """The folder data/archives of a project that knows the data set `tiny`, of which two hashes are listed."""
    listed = {place: hashlib.sha256(place.encode()).hexdigest() for place in RECORD.files.present()[:2]}
    monkeypatch.setattr(datasets, "PUBLIC", {"tiny": TINY})
    monkeypatch.setattr(datasets, "manifest", lambda name: listed)
    monkeypatch.delenv("FUNDUS_ARCHIVES", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data" / "archives"
    folder.mkdir(parents=True)
    return folder


def write(folder, *missing):
    for place in set(RECORD.files.present()) - {*missing}:
        path = folder / "tiny" / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(place)


def test_complete_data_set_is_verified(archives, capsys):
    write(archives)
    assert download_cli.main(["tiny", "tiny"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("tiny: 1 images, 3 files, 2 verified, 1 without an official hash, in ")
    assert line.endswith("data/archives/tiny")


def test_altered_file_is_named(archives, capsys):
    write(archives)
    (archives / "tiny" / "truth" / "01.png").write_text("altered")
    assert download_cli.main(["tiny"]) == 1
    assert "truth/01.png: expected the official file (SHA-256 " in capsys.readouterr().err


def test_missing_data_set_and_its_source_are_named(archives, capsys):
    assert download_cli.main(["tiny"]) == 1
    assert "tiny: not found in data/archives; write to us" in capsys.readouterr().err


def test_missing_file_is_named(archives, capsys):
    write(archives, "truth/01.png")
    assert download_cli.main(["tiny"]) == 1
    assert "expected truth/01.png of tiny, missing" in capsys.readouterr().err


def test_list_names_every_public_data_set_with_splits_and_source(capsys):
    assert download_cli.main([]) == 0
    page = capsys.readouterr().out
    for dataset in datasets.PUBLIC.values():
        assert f"{dataset.name}\n  {dataset.description[:30]}" in page
        assert f"splits: {', '.join(dataset.splits)}, all" in page
    assert "https://drive.grand-challenge.org/" in page


def test_unknown_name_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit, match="2"):
        download_cli.main(["drve"])
    assert (
        "expected one of drive, chase_db1, stare, hrf, rbv, dr_hagis, les_av, fives, got 'drve'"
        in capsys.readouterr().err
    )
