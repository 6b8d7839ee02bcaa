import math

import numpy as np
import pytest

from src import doubt

FOV = np.array([[True, True, True, True, False]])


def test_pixels_of_the_fov_and_wrong_ones_are_counted_by_class():
    tally = doubt.Tally()
    tally.add("drive", np.array([[0, 0.01, 0.011, 1, 1]]), np.array([[True, False, True, True, True]]), FOV)
    tally.add("drive", np.array([[0.35, 0.35, 0.35, 0.35, 0]]), np.array([[True, False, False, False, True]]), FOV)
    rows = {row["doubt_up_to"]: row for row in tally.rows()}
    assert tuple(rows) == doubt.UP_TO
    found = {end: (row["pixels"], row["wrong"]) for end, row in rows.items() if row["pixels"]}
    assert found == {0.01: (2, 1), 0.02: (1, 1), 0.4: (4, 1), 1.0: (1, 1)}
    assert rows[0.4]["wrong_share"] == pytest.approx(0.25)
    assert math.isnan(rows[0.05]["wrong_share"])
    assert {row["dataset"] for row in rows.values()} == {"drive"}


@pytest.mark.parametrize("end", doubt.UP_TO)
def test_a_class_holds_its_upper_end_also_in_single_precision(end):
    tally = doubt.Tally()
    tally.add("drive", np.full((1, 5), end, np.float32), ~FOV, FOV)
    assert [row["doubt_up_to"] for row in tally.rows() if row["pixels"]] == [end]


def test_data_sets_are_counted_apart():
    tally = doubt.Tally()
    for dataset in ("hrf", "drive"):
        tally.add(dataset, np.zeros((1, 5)), FOV, FOV)
    assert [row["dataset"] for row in tally.rows()] == ["drive"] * 9 + ["hrf"] * 9


def test_nothing_is_counted_where_there_is_no_doubt():
    tally = doubt.Tally()
    tally.add("drive", None, FOV, FOV)
    assert {row["pixels"] for row in tally.rows()} == {0}
