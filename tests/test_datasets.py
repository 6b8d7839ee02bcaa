import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src import datasets

SPLITS = [(name, split) for name, dataset in datasets.PUBLIC.items() for split in dataset.splits]


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_split_has_the_sizes_it_is_named_after(name, split):
    parts = datasets.subsets(name, split)
    assert f"{len(parts.train)}/{len(parts.test)}" == split


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_split_separates_people(name, split):
    train, test = datasets.subsets(name, split)
    assert not {record.group for record in train} & {record.group for record in test}


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_all_makes_every_image_a_test_image(name):
    assert datasets.subsets(name, "all") == ((), datasets.PUBLIC[name].records)


@pytest.mark.parametrize("name", datasets.PUBLIC)
def test_manifest_and_layout_agree(name):
    dataset, listed = datasets.PUBLIC[name], datasets.manifest(name)
    files = [file for record in dataset.records for file in record.files()]
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
    train = datasets.subsets("chase_db1", "8/20").train
    assert [record.id for record in train] == ["11L", "11R", "12L", "12R", "13L", "13R", "14L", "14R"]


@pytest.mark.parametrize(
    ("id_", "group"),
    [("train_00", "drive-21"), ("train_03", "drive-21"), ("train_79", "drive-40"), ("test_00", "drive-01")],
)
def test_rbv_pictures_belong_to_eyes_of_drive(id_, group):
    assert {record.id: record.group for record in datasets.PUBLIC["rbv"].records}[id_] == group
    assert group in {record.group for record in datasets.PUBLIC["drive"].records}


def test_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"data.splits.drive: expected one of 20/20, all, got '8/20'"):
        datasets.subsets("drive", "8/20")


@given(st.sets(st.text(min_size=1), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers(0, 99))
def test_some_groups_are_held_out_and_some_not(groups, share, seed):
    held_out = datasets.split_groups(groups, share, seed)
    assert set() < held_out < groups


def test_share_of_groups_is_held_out_whatever_the_order():
    groups = [f"g{number // 4}" for number in range(80)]
    held_out = datasets.split_groups(groups, 0.2, 1)
    assert len(held_out) == 4
    assert held_out == datasets.split_groups(groups[::-1], 0.2, 1)
    assert held_out != datasets.split_groups(groups, 0.2, 2)


def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match="at least two groups"):
        datasets.split_groups(["a", "a"], 0.5, 1)


def test_person_on_both_sides_is_refused():
    with pytest.raises(ValueError, match="got 1 on both sides, the first drive-21"):
        datasets.refuse_shared_groups(["drive-21", "drive-22"], ["drive-21", "drive-01"])
    datasets.refuse_shared_groups(["a"], ["b"])
