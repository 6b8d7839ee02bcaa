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


def test_patient_in_training_and_test_is_rejected():
    with pytest.raises(ValueError, match="got 1 on both sides, the first drive-21"):
        splits.check_disjoint_groups(["drive-21", "drive-22"], ["drive-21", "drive-01"])
    splits.check_disjoint_groups(["a"], ["b"])
