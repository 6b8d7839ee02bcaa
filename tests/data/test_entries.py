from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from image_file_builders import (
    BOTH,
    HEIGHT,
    TEST,
    TRAIN,
    WIDTH,
    annotation,
    block_network,
    custom_folder,
    encoded,
    fundus_image,
    load,
    make_official,
    put,
    put_zip,
)

from src.data import datasets, entries, locate_files, samples
from src.data.splits import Uses
from src.synthetic import generator


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    block_network(monkeypatch)


@pytest.fixture
def official_files(monkeypatch):
    """A function: small files of a public data set, which from then on are the official ones."""
    return partial(make_official, monkeypatch)


@pytest.mark.parametrize("how", ["truncated", "altered", "empty"])
def test_changed_file_is_named(tmp_path, official_files, how):
    content = official_files("chase_db1")
    good = content["Image_12R.jpg"]
    content["Image_12R.jpg"] = {"truncated": good[:-20], "altered": good[:-20] + bytes(20), "empty": b""}[how]
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    found = {entry.id: entry for entry in entries.public_entries("chase_db1", "8/20", BOTH, tmp_path).train}
    with pytest.raises(ValueError, match=r"Image_12R.jpg: expected the official file \(SHA-256 "):
        found["12R"].load()


def test_changed_file_that_is_not_used_is_named(tmp_path, official_files):
    content = official_files("chase_db1")
    content["Image_01L.jpg"] += b" "
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    with pytest.raises(ValueError, match=r"Image_01L.jpg: expected the official file"):
        entries.public_entries("chase_db1", "8/20", TRAIN, tmp_path)


def test_swapped_files_are_named(tmp_path, official_files):
    content = official_files("chase_db1")
    content["Image_11L.jpg"], content["Image_11R.jpg"] = content["Image_11R.jpg"], content["Image_11L.jpg"]
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    with pytest.raises(ValueError, match=r"Image_11L.jpg: .*, which is that of Image_11R.jpg"):
        entries.public_entries("chase_db1", "8/20", TRAIN, tmp_path).train[0].load()


def test_file_without_hash_is_rejected_unless_known(tmp_path, official_files, monkeypatch):
    content = official_files("chase_db1")
    put(tmp_path / "data" / "archives" / "CHASEDB1", content)
    monkeypatch.setattr(datasets, "manifest", lambda name: {})
    with pytest.raises(ValueError, match=r"chase_db1.sha256: expected the SHA-256 of Image_01L.jpg, found none"):
        entries.public_entries("chase_db1", "20/8", TEST, tmp_path)


def test_split_all_is_rejected_for_training(tmp_path):
    with pytest.raises(ValueError, match=r"data.splits.chase_db1: expected 20/8 or 8/20.*got all"):
        entries.public_entries("chase_db1", "all", BOTH, tmp_path)


def load_custom(root: Path, uses: Uses = TEST) -> list[samples.LabelledImage]:
    return load(entries.custom_entries("folder", root, uses, 0.25, 1).test)


def test_custom_images_are_loaded(tmp_path):
    root = custom_folder(tmp_path)
    put(root, {"second_observer/p1.png": encoded(annotation(), ".png")})
    loaded = load_custom(root)
    assert [labelled.id for labelled in loaded] == ["p0", "p1", "p2", "p3"]
    assert [labelled.second_observer is not None for labelled in loaded] == [False, True, False, False]
    assert len({labelled.group for labelled in loaded}) == 4


@pytest.mark.parametrize(("uses", "train", "test"), [(BOTH, 3, 1), (TRAIN, 4, 0), (TEST, 0, 4)])
def test_fraction_of_custom_groups_is_tested_on(tmp_path, uses, train, test):
    parts = entries.custom_entries("folder", custom_folder(tmp_path), uses, 0.25, 1)
    assert (len(parts.train), len(parts.test)) == (train, test)


def test_data_sets_of_the_user_share_no_group(tmp_path):
    first, second = (
        entries.custom_entries(name, custom_folder(tmp_path / name), TEST, 0.25, 1).test for name in ("a", "b")
    )
    assert {entry.dataset for entry in first} == {"a"}
    assert not {entry.group for entry in first} & {entry.group for entry in second}


def test_custom_groups_stay_together(tmp_path):
    root = custom_folder(tmp_path)
    put(root, {"groups.csv": b"id,group\np0,a\np1,a\np2,b\np3,b\n"})
    train, test = entries.custom_entries("folder", root, BOTH, 0.5, 1)
    assert {len({entry.group for entry in part}) for part in (train, test)} == {1}


def test_custom_field_of_view_is_used(tmp_path):
    root = custom_folder(tmp_path, 1)
    put(root, {"fov/p0.png": encoded(np.full((HEIGHT, WIDTH), 255, np.uint8), ".png")})
    assert load_custom(root)[0].fov.all()


def test_field_of_view_is_detected_where_a_single_one_is_missing(tmp_path):
    root = custom_folder(tmp_path, 2)
    found = load_custom(root)[1].fov
    put(root, {"fov/p0.png": encoded(np.full((HEIGHT, WIDTH), 255, np.uint8), ".png")})
    first, second = load_custom(root)
    assert first.fov.all()
    assert not found.all()
    assert (second.fov == found).all()


def test_custom_truth_without_vessels_is_allowed(tmp_path):
    root = custom_folder(tmp_path, 1)
    put(root, {"truth/p0.png": encoded(np.zeros((HEIGHT, WIDTH), np.uint8), ".png")})
    assert not load_custom(root)[0].truth.any()


def test_one_custom_group_cannot_be_split(tmp_path):
    with pytest.raises(ValueError, match=r"data.folder.test_fraction, data set clinic: expected at least two groups"):
        entries.custom_entries("clinic", custom_folder(tmp_path, 1), BOTH, 0.5, 1)


def test_synthetic_images_have_distinct_ids_and_groups():
    train, test = entries.synthetic_entries(2, 2, 128, 128, 1)
    assert [entry.id for entry in (*train, *test)] == ["0000", "0001", "5000", "5001"]
    assert len({entry.group for entry in (*train, *test)}) == 4


def test_synthetic_test_images_do_not_depend_on_the_number_of_training_images():
    few, many = (entries.synthetic_entries(train, 1, 128, 128, 1) for train in (1, 3))
    assert (few.test[0].id, few.test[0].group) == (many.test[0].id, many.test[0].group)
    first, second = load((*few.test, *many.test))
    assert (first.image == second.image).all()
    assert (first.image == generator.generate(1, entries.FIRST_TEST, 128, 128).image).all()


def make_listed(monkeypatch, content):
    """Make the files in `content` the official ones."""
    listed = {place: sha256(data).hexdigest() for place, data in content.items()}
    monkeypatch.setattr(datasets, "manifest", lambda name: listed)


@pytest.mark.parametrize("name", ["dr_hagis", "les_av", "fives"])
def test_each_image_comes_with_its_own_annotation_and_field_of_view(tmp_path, official_files, monkeypatch, name):
    """The number of an image is the width of its FOV and of its vessel."""
    content, records = official_files(name), datasets.PUBLIC[name].records[::7]
    for number, record in enumerate(records):
        width = 20 + number % 40
        for place in record.files.present()[1:]:
            rows = slice(None) if place == record.files.fov else slice(30, 32)
            shown = np.zeros((HEIGHT, WIDTH), np.uint8)
            shown[rows, :width] = 255
            content[place] = encoded(shown, Path(place).suffix)
    make_listed(monkeypatch, content)
    put_zip(tmp_path / "data" / "archives" / f"{name}.zip", {f"top/{place}": data for place, data in content.items()})
    found = {entry.id: entry for entry in entries.public_entries(name, "all", TEST, tmp_path).test}
    for number, record in enumerate(records):
        labelled = found[record.id].load()
        width = 20 + number % 40
        assert (labelled.image == fundus_image(7 * number)).all() or record.files.image.endswith(".jpg")
        assert labelled.truth.sum() == 2 * width
        if record.files.fov:
            assert labelled.fov.sum() == HEIGHT * width


def test_annotated_vessels_outside_the_field_of_view_are_kept(tmp_path, official_files, monkeypatch):
    """As of every data set: the loss and the scores in the FOV leave them out."""
    content, files = official_files("dr_hagis"), datasets.PUBLIC["dr_hagis"].records[0].files
    content[files.truth] = encoded(np.full((HEIGHT, WIDTH), 255, np.uint8), ".png")
    make_listed(monkeypatch, content)
    put(tmp_path / "data" / "archives" / "DRHAGIS", content)
    labelled = entries.public_entries("dr_hagis", "all", TEST, tmp_path).test[0].load()
    assert not labelled.fov.all()
    assert labelled.truth.all()


@pytest.mark.parametrize("name", ["dr_hagis", "les_av", "fives"])
def test_annotation_of_another_size_is_named(tmp_path, official_files, monkeypatch, name):
    content, record = official_files(name), datasets.PUBLIC[name].records[-1]
    content[record.files.truth] = encoded(annotation((HEIGHT + 1, WIDTH)), ".png")
    make_listed(monkeypatch, content)
    put(tmp_path / "data" / "archives" / name, content)
    entry = entries.public_entries(name, "all", TEST, tmp_path).test[-1]
    with pytest.raises(ValueError, match=rf"{record.files.truth}: expected 70x60 like the image, got 70x61"):
        entry.load()


@pytest.mark.parametrize("name", ["dr_hagis", "les_av", "fives"])
def test_missing_file_of_a_test_image_is_named(tmp_path, official_files, name):
    content, record = official_files(name), datasets.PUBLIC[name].records[-1]
    for place in record.files.present():
        rest = {other: data for other, data in content.items() if other != place}
        put_zip(tmp_path / place.replace("/", "_") / "data" / "archives" / f"{name}.zip", rest)
        with pytest.raises(FileNotFoundError, match=rf"expected {place} of {name}, missing"):
            entries.public_entries(name, "all", TEST, tmp_path / place.replace("/", "_"))


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("name", "split", "fraction"),
    [
        ("drive", "20/20", (0.06, 0.116)),
        ("chase_db1", "8/20", (0.05, 0.086)),
        ("rbv", "80/20", (0.05, 0.13)),
    ],
)
def test_real_set_is_whole_and_plausible(real_archives, monkeypatch, tmp_path, name, split, fraction):
    monkeypatch.setenv(locate_files.VARIABLE, str(real_archives))
    train, test = entries.public_entries(name, split, BOTH, tmp_path)
    for labelled in load((*train[::8], *test[::8])):  # of RBV no rotated ones: their corners are mirrored, with vessels
        assert fraction[0] <= labelled.truth.mean() <= fraction[1]
        assert 0.6 < labelled.fov.mean() < 0.75
        assert labelled.truth[labelled.fov].sum() > 0.99 * labelled.truth.sum()


def test_drive_without_ground_truth_of_the_test_images_trains_but_does_not_test(tmp_path, official_files):
    """As its site gives it since 2019."""
    content = {
        place: data for place, data in official_files("drive").items() if not place.startswith(locate_files.TEST_TRUTH)
    }
    put(tmp_path / "data" / "archives" / "DRIVE", content)
    found = entries.public_entries("drive", "20/20", TRAIN, tmp_path)
    assert (len(found.train), len(found.test)) == (20, 0)
    found.train[0].load()
    with pytest.raises(FileNotFoundError, match=r"lack the ground truth of the test images: .*do not test on it"):
        entries.public_entries("drive", "20/20", BOTH, tmp_path)
