import re
from itertools import combinations
from pathlib import Path
from typing import get_args

import pytest

from src.data import datasets
from src.params import PUBLIC_SETS, Splits

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
        "dr_hagis": 0,
        "les_av": 0,
        "fives": 1600,
    }


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_files_of_an_image_have_its_number(name):
    for record in datasets.PUBLIC[name].records:
        numbers = {re.findall(r"\d+", Path(place).name)[0] for place in record.files.present()}
        assert len(numbers) == 1
        assert int(*numbers) == int(re.findall(r"\d+", record.id)[0])
        assert len(set(record.files.present())) == len(record.files.present())


def test_names_in_params_are_those_of_the_public_data_sets():
    assert PUBLIC_SETS == tuple(datasets.PUBLIC) == tuple(Splits.model_fields)
    for name, dataset in datasets.PUBLIC.items():
        assert get_args(Splits.model_fields[name].annotation) == (*dataset.splits, "all")


def test_image_that_dr_hagis_holds_twice_has_one_group():
    records = datasets.PUBLIC["dr_hagis"].records
    groups = {record.id: record.group for record in records}
    assert groups["24"] == groups["32"]
    assert len(set(groups.values())) == len(records) - 1
    listed = datasets.manifest("dr_hagis")
    digests = [(record.id, listed[record.files.image]) for record in records]
    assert [(a, b) for (a, one), (b, other) in combinations(digests, 2) if one == other] == [("24", "32")]


@pytest.mark.parametrize(
    ("id_", "image", "subset"),
    [
        ("train_001_A", "train/Original/1_A.png", 0),
        ("train_150_A", "train/Original/150_A.png", 0),
        ("train_151_D", "train/Original/151_D.png", 0),
        ("train_600_N", "train/Original/600_N.png", 0),
        ("test_001_A", "test/Original/1_A.png", 1),
        ("test_101_G", "test/Original/101_G.png", 1),
        ("test_200_N", "test/Original/200_N.png", 1),
    ],
)
def test_fives_has_as_many_images_of_each_kind(id_, image, subset):
    found = {record.id: record for record in datasets.official_split("fives", "600/200")[subset]}
    assert found[id_].files.image == image
    assert found[id_].files.truth == image.replace("Original", "Ground truth")
    for kind in "ADGN":
        assert len([name for name in found if name.endswith(kind)]) == len(found) / 4


@pytest.mark.parametrize(("name", "first", "last"), [("dr_hagis", "01", "20"), ("les_av", "012", "119")])
def test_first_half_by_number_trains(name, first, last):
    (split,) = datasets.PUBLIC[name].splits
    train = datasets.official_split(name, split).train
    assert (train[0].id, train[-1].id) == (first, last)


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
