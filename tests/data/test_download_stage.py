import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from image_file_builders import block_network, custom_folder, encoded, make_official, put, set_files

from src.common import atomic_io
from src.data import datasets, locate_files, samples, splits
from src.params import Fold, load_params
from src.synthetic import generator
from stages import download as stage

pytestmark = pytest.mark.usefixtures("no_workers")


def test_stage_writes_the_audit(tmp_path):
    params = load_params()
    phantom = params.phantom.model_copy(update={"n_train": 3, "n_test": 1, "height": 128, "width": 120})
    data = params.data.model_copy(update={"train": ["phantom"], "test": ["phantom"]})
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "metrics" / "audit.csv", data, phantom)
    text = (tmp_path / "metrics" / "audit.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["subset"], row["images"], row["largest"]) for row in rows] == [
        ("train", "2", "120x128"),
        ("validation", "1", "120x128"),
        ("test", "1", "120x128"),
    ]


def test_data_sets_of_the_user_are_trained_and_tested_on_by_name(tmp_path):
    params = load_params()
    custom = {"clinic_a": str(custom_folder(tmp_path / "a", 4)), "clinic_b": str(custom_folder(tmp_path / "b", 1))}
    for number, path in enumerate(sorted(tmp_path.glob("*/images/*"))):  # no two alike
        image = generator.generate(1, number, 128, 128)
        path.write_bytes(encoded(image.image, ".jpg"))
        truth = encoded(image.truth.astype(np.uint8) * 255, ".png")
        (path.parents[1] / "truth" / f"{path.stem}.png").write_bytes(truth)
    update = {"train": ["clinic_a"], "test": ["clinic_b", "clinic_a"], "custom": custom}
    data = params.data.model_copy(update=update)
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "audit.csv", data, params.phantom)
    found = {part: samples.find(tmp_path / "raw" / part) for part in ("train", "validation", "test")}
    assert {part: [sample.dataset for sample in every] for part, every in found.items()} == {
        "train": ["clinic_a"] * 2,
        "validation": ["clinic_a"],
        "test": ["clinic_a", "clinic_b"],
    }


def test_fingerprint_of_a_data_set_that_is_no_longer_defined_is_deleted(tmp_path):
    params = load_params()
    atomic_io.write_text(tmp_path / "fingerprints" / "README.md", "")
    for name in ("clinic_a", "clinic_b"):
        atomic_io.write_text(tmp_path / "fingerprints" / f"{name}.csv", "")
    data = params.data.model_copy(update={"custom": {"clinic_a": "a"}, "test": ["phantom"], "train": ["phantom"]})
    phantom = params.phantom.model_copy(update={"n_train": 2, "n_test": 1, "height": 128, "width": 120})
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "audit.csv", data, phantom)
    assert {path.name for path in (tmp_path / "fingerprints").iterdir()} == {"README.md", "clinic_a.csv"}


def test_stage_warns_of_files_without_an_official_hash(tmp_path, monkeypatch, capsys):
    block_network(monkeypatch)
    put(tmp_path / "HRF", make_official(monkeypatch, "hrf"))
    monkeypatch.setenv("FUNDUS_ARCHIVES", str(tmp_path))
    params = load_params()
    data = params.data.model_copy(update={"train": ["phantom"], "test": ["hrf"]})
    phantom = params.phantom.model_copy(update={"n_train": 2, "height": 128, "width": 120})
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "audit.csv", data, phantom)
    assert "warning: hrf: 48 files without an official hash are not verified" in capsys.readouterr().err
    assert len(samples.find(tmp_path / "raw" / "test")) == 30


def test_stage_warns_of_what_is_implausible(tmp_path, capsys):
    params = load_params()
    root = custom_folder(tmp_path / "own", 4)
    data = params.data.model_copy(
        update={
            "train": ["phantom"],
            "test": ["folder"],
            "folder": params.data.folder.model_copy(update={"path": str(root)}),
        }
    )
    phantom = params.phantom.model_copy(update={"n_train": 2, "height": 128, "width": 120})
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "audit.csv", data, phantom)
    assert "warning: test/folder/truth/p0.png: expected vessels in 1% to 25%" in capsys.readouterr().err


def test_custom_folder_is_read_from_the_current_folder_also_in_an_experiment(tmp_path, monkeypatch):
    params = load_params()
    checkout = tmp_path / ".dvc" / "tmp" / "exps" / "temp" / "tmp1"
    custom_folder(tmp_path / "mine")
    custom_folder(checkout / "mine", 3)
    monkeypatch.chdir(checkout)
    for path, count in (("mine", 3), (str(tmp_path / "mine"), 4)):
        folder = params.data.folder.model_copy(update={"path": path})
        data = params.data.model_copy(update={"folder": folder, "test": ["folder"]})
        assert len(stage.find_entries("folder", data, params.phantom).test) == count


@pytest.fixture
def drive_since_2019(tmp_path, monkeypatch):
    """A project folder with small images in the layout of DRIVE as its site gives it: no truth of the test images."""
    content = set_files("drive")
    for record in datasets.official_split("drive", "20/20").train:
        image = generator.generate(seed=1, index=int(record.id), height=128, width=120)
        levels = (image.image, image.truth.astype(np.uint8) * 255, image.fov.astype(np.uint8) * 255)
        for place, array in zip(record.files.present(), levels, strict=True):
            content[place] = encoded(array, Path(place).suffix)
    listed = {place: hashlib.sha256(data).hexdigest() for place, data in content.items()}
    monkeypatch.setattr(datasets, "manifest", lambda asked: listed)
    given = {place: data for place, data in content.items() if not place.startswith(locate_files.TEST_TRUTH)}
    put(tmp_path / "data" / "archives" / "DRIVE", given)
    block_network(monkeypatch)
    return tmp_path


def ids(root: Path) -> set[str]:
    return {sample.id for sample in samples.find(root)}


@pytest.mark.slow
def test_drive_without_truth_of_its_test_images_is_cross_validated(drive_since_2019, monkeypatch):
    params = load_params()
    monkeypatch.chdir(drive_since_2019)
    tested = []
    for number in (1, 2):
        data = {"train": ["drive"], "test": ["drive"], "test_fold": Fold(number, 2)}
        data = params.data.model_copy(update=data)
        stage.main(Path("fingerprints"), Path("raw"), Path("audit.csv"), data, params.phantom)
        train, validation, test = (ids(Path("raw") / subset) for subset in ("train", "validation", "test"))
        assert (len(train), len(validation), len(test)) == (8, 2, 10)
        assert train | validation | test == {str(number) for number in range(21, 41)}
        tested.append(test)
    assert not tested[0] & tested[1]


def test_fold_replaces_test_images_only_of_data_sets_that_are_trained_on(tmp_path):
    params = load_params()
    phantom = params.phantom.model_copy(update={"n_train": 4, "n_test": 2, "height": 128, "width": 120})
    folder = params.data.folder.model_copy(update={"path": str(custom_folder(tmp_path / "own", 2))})
    data = {"train": ["phantom"], "test": ["phantom", "folder"], "test_fold": Fold(4, 4), "folder": folder}
    data = params.data.model_copy(update=data)
    stage.main(tmp_path / "fingerprints", tmp_path / "raw", tmp_path / "audit.csv", data, phantom)
    tested = [(sample.dataset, sample.id) for sample in samples.find(tmp_path / "raw" / "test")]
    assert tested[:2] == [("folder", "p0"), ("folder", "p1")]
    assert [(name, int(id_) < 4) for name, id_ in tested[2:]] == [("phantom", True)]


def test_folds_of_a_custom_folder_hold_all_of_its_images_by_patient(tmp_path):
    params = load_params()
    root = custom_folder(tmp_path / "own", 6)
    put(root, {"groups.csv": b"id,group\n" + b"".join(b"p%d,patient%d\n" % (n, n // 2) for n in range(6))})
    data = params.data.model_copy(
        update={
            "train": ["folder"],
            "test": ["folder"],
            "test_fold": Fold(1, 3),
            "folder": params.data.folder.model_copy(update={"path": str(root)}),
        }
    )
    found = stage.find_entries("folder", data, params.phantom)
    assert (len(found.train), len(found.test)) == (6, 0)
    train, test = splits.hold_out_fold(found.train, data.test, *data.test_fold, data.seed)
    assert (len(train), len({entry.group for entry in test}), len(test)) == (4, 1, 2)
