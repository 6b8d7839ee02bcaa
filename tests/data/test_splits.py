from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.data import entries, splits


def test_smaller_selection_is_part_of_a_larger_and_keeps_phantoms():
    synthetic = entries.synthetic_entries(3, 0, 128, 128, 1).train
    real = [entry._replace(dataset="drive") for entry in entries.synthetic_entries(9, 0, 128, 128, 1).train]
    few, more, every = (splits.subsample([*synthetic, *real], most, 1) for most in (2, 5, None))
    assert [entry.dataset for entry in few] == ["phantom"] * 3 + ["drive"] * 2
    assert set(few) < set(more)
    assert every == [*synthetic, *real]
    assert few != splits.subsample([*synthetic, *real], 2, 2)


def test_one_group_cannot_be_split_for_validation():
    with pytest.raises(ValueError, match=r"data.validation_fraction: expected at least two groups"):
        splits.split_validation(entries.synthetic_entries(1, 0, 128, 128, 1).train, 0.2, 1)


@given(st.sets(st.text(min_size=1), min_size=2, max_size=30), st.floats(0.01, 0.99), st.integers(0, 99))
def test_some_groups_are_held_out_and_some_not(groups, fraction, seed):
    held_out = splits.split_groups(groups, fraction, seed)
    assert set() < held_out < groups


def test_fraction_of_groups_is_held_out_in_any_order():
    groups = [f"g{number // 4}" for number in range(80)]
    held_out = splits.split_groups(groups, 0.2, 1)
    assert len(held_out) == 4
    assert held_out == splits.split_groups(groups[::-1], 0.2, 1)
    assert held_out != splits.split_groups(groups, 0.2, 2)


def test_one_group_cannot_be_split():
    with pytest.raises(ValueError, match="at least two groups"):
        splits.split_groups(["a", "a"], 0.5, 1)


class Image(NamedTuple):
    dataset: str
    group: str
    id: str


@given(st.lists(st.integers(1, 30), min_size=1, max_size=4), st.floats(0.01, 0.99), st.integers(0, 99))
def test_each_data_set_of_several_patients_gives_some_of_them_for_validation(sizes, fraction, seed):
    images = [
        Image(f"set{place}", f"set{place}-{patient}", str(eye))
        for place, size in enumerate(sizes)
        for patient in range(size)
        for eye in range(2)
    ]
    if len({image.group for image in images}) < 2:
        return
    subsets = splits.split_validation(images, fraction, seed)
    train, held_out = ({image.group for image in subsets[name]} for name in ("train", "validation"))
    assert not train & held_out
    assert train | held_out == {image.group for image in images}
    assert train
    assert held_out
    for place, size in enumerate(sizes):
        if size > 1:
            of_set = {group for group in held_out if group.startswith(f"set{place}-")}
            assert len(of_set) == min(max(round(fraction * size), 1), size - 1)


@given(st.lists(st.integers(2, 9), min_size=1, max_size=3), st.integers(2, 6), st.integers(0, 99))
def test_every_training_image_is_in_one_fold_with_its_patient_and_never_on_both_sides(sizes, folds, seed):
    images = [
        Image(f"set{place}", f"set{place}-{patient}", f"{patient}{eye}")
        for place, size in enumerate(sizes)
        for patient in range(size)
        for eye in "LR"
    ]
    tested = [f"set{place}" for place in range(len(sizes))]
    if sum(sizes) < folds:
        return
    parts = [splits.hold_out_fold(images, tested, number, folds, seed) for number in range(1, folds + 1)]
    assert sorted(image for _, test in parts for image in test) == sorted(images)
    for train, test in parts:
        assert sorted([*train, *test]) == sorted(images)
        splits.check_disjoint_groups((image.group for image in train), (image.group for image in test))
    for name, size in zip(tested, sizes, strict=True):
        counts = {len({image.group for image in test if image.dataset == name}) for _, test in parts}
        assert counts <= {size // folds, -(-size // folds)}


def test_folds_follow_the_seed_and_not_the_order():
    images = [Image("a", f"a{number}", "") for number in range(12)]

    def fold(images, seed):
        return sorted(splits.hold_out_fold(images, ["a"], 1, 4, seed)[1])

    assert fold(images, 1) == fold(images[::-1], 1) != fold(images, 2)


def test_other_data_sets_are_trained_on_without_the_patients_of_the_fold():
    images = [Image(name, f"patient{number}", name) for name in ("drive", "rbv") for number in range(4)]
    images += [Image("phantom", "phantom0", "")]
    train, test = splits.hold_out_fold(images, ["drive"], 1, 4, 1)
    assert [image.dataset for image in test] == ["drive"]
    assert sorted(image.dataset for image in train) == ["drive"] * 3 + ["phantom"] + ["rbv"] * 3


def test_more_folds_than_patients_are_rejected():
    with pytest.raises(
        ValueError, match=r"data\.test_fold: expected at most as many folds as patients, got 5 of 4 pat"
    ):
        splits.hold_out_fold([Image("a", f"a{number // 2}", "") for number in range(8)], ["a"], 1, 5, 1)


def test_patient_in_training_and_test_is_rejected():
    with pytest.raises(ValueError, match="got 1 on both sides, the first drive-21"):
        splits.check_disjoint_groups(["drive-21", "drive-22"], ["drive-21", "drive-01"])
    splits.check_disjoint_groups(["a"], ["b"])
