import re

import pytest

from src.data import datasets

SPLITS = [(name, split) for name, dataset in datasets.PUBLIC.items() for split in dataset.splits]


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_split_has_the_sizes_in_its_name(name, split):
    parts = datasets.official_split(name, split)
    assert f"{len(parts.train)}/{len(parts.test)}" == split


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_split_separates_patients(name, split):
    train, test = datasets.official_split(name, split)
    assert not {record.group for record in train} & {record.group for record in test}


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_all_makes_every_image_a_test_image(name):
    assert datasets.official_split(name, "all") == ((), datasets.PUBLIC[name].records)


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_manifest_and_layout_agree(name):
    dataset, listed = datasets.PUBLIC[name], datasets.manifest(name)
    files = [file for record in dataset.records for file in record.files.present()]
    assert len(files) == len(set(files))
    assert set(files) == set(listed) | dataset.unlisted
    assert not set(listed) & dataset.unlisted
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in listed.values())


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_ids_are_unique_and_description_names_the_licence(name):
    dataset = datasets.PUBLIC[name]
    assert len({record.id for record in dataset.records}) == len(dataset.records)
    assert "icence" in dataset.description or "license" in dataset.description
    assert dataset.downloads or dataset.by_hand


def test_unlisted_files_are_the_known_ones():
    assert {name: len(dataset.unlisted) for name, dataset in datasets.PUBLIC.items()} == {
        "drive": 0,
        "chase_db1": 0,
        "stare": 0,
        "hrf": 48,
        "rbv": 0,
    }


def test_eyes_of_a_child_share_a_group():
    groups = {record.id: record.group for record in datasets.PUBLIC["chase_db1"].records}
    assert groups["03L"] == groups["03R"] != groups["04L"]


def test_chase_small_split_trains_on_the_last_eight():
    train = datasets.official_split("chase_db1", "8/20").train
    assert [record.id for record in train] == ["11L", "11R", "12L", "12R", "13L", "13R", "14L", "14R"]


@pytest.mark.parametrize(
    ("id_", "group"),
    [("train_00", "drive-21"), ("train_03", "drive-21"), ("train_79", "drive-40"), ("test_00", "drive-01")],
)
def test_rbv_images_belong_to_groups_of_drive(id_, group):
    assert {record.id: record.group for record in datasets.PUBLIC["rbv"].records}[id_] == group
    assert group in {record.group for record in datasets.PUBLIC["drive"].records}


def test_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"data.splits.drive: expected one of 20/20, all, got '8/20'"):
        datasets.official_split("drive", "8/20")
