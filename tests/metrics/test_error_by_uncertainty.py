import math

import numpy as np
import pytest

from src.metrics import error_by_uncertainty

FOV = np.array([[True, True, True, True, False]])


def test_pixels_and_errors_in_the_fov_are_counted_by_bin():
    histogram = error_by_uncertainty.UncertaintyHistogram()
    histogram.add("drive", np.array([[0, 0.01, 0.011, 1, 1]]), np.array([[True, False, True, True, True]]), FOV)
    histogram.add("drive", np.array([[0.35, 0.35, 0.35, 0.35, 0]]), np.array([[True, False, False, False, True]]), FOV)
    rows = {row["uncertainty_up_to"]: row for row in histogram.rows()}
    assert tuple(rows) == error_by_uncertainty.BIN_ENDS
    found = {end: (row["pixels"], row["errors"]) for end, row in rows.items() if row["pixels"]}
    assert found == {0.01: (2, 1), 0.02: (1, 1), 0.4: (4, 1), 1.0: (1, 1)}
    assert rows[0.4]["error_rate"] == pytest.approx(0.25)
    assert math.isnan(rows[0.05]["error_rate"])
    assert {row["dataset"] for row in rows.values()} == {"drive"}


@pytest.mark.parametrize("end", error_by_uncertainty.BIN_ENDS)
def test_bin_contains_its_upper_end_also_in_single_precision(end):
    histogram = error_by_uncertainty.UncertaintyHistogram()
    histogram.add("drive", np.full((1, 5), end, np.float32), ~FOV, FOV)
    assert [row["uncertainty_up_to"] for row in histogram.rows() if row["pixels"]] == [end]


def test_data_sets_are_counted_apart():
    histogram = error_by_uncertainty.UncertaintyHistogram()
    for dataset in ("hrf", "drive"):
        histogram.add(dataset, np.zeros((1, 5)), FOV, FOV)
    assert [row["dataset"] for row in histogram.rows()] == ["drive"] * 9 + ["hrf"] * 9


def test_no_pixel_is_counted_without_test_time_augmentation():
    histogram = error_by_uncertainty.UncertaintyHistogram()
    histogram.add("drive", None, FOV, FOV)
    assert {row["pixels"] for row in histogram.rows()} == {0}
