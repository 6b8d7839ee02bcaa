import numpy as np
import pytest

from benchmarks import edges
from src import counts

INSIDE = np.ones((32, 32), bool)


@pytest.fixture
def vessel() -> np.ndarray:
    drawn = np.zeros((32, 32), bool)
    drawn[10:14, :] = True
    return drawn


def test_what_touches_is_told_from_what_does_not(vessel):
    found = vessel.copy()
    found[13] = False  # 32 missed that touch
    found[9, :8] = True  # 8 false that touch
    found[25, :4] = True  # 4 false elsewhere
    assert edges.compare(vessel, found, INSIDE) == edges.Edges(counts.Counts(96, 12, 32, 884), 8, 32)


def test_a_corner_touches_and_nothing_outside_the_field_of_view_counts(vessel):
    fov = INSIDE.copy()
    fov[:, 16:] = False
    drawn, found = vessel & (np.arange(32) < 8), np.zeros((32, 32), bool)
    found[14, 8] = found[20, 20] = True
    assert edges.compare(drawn, found, fov) == edges.Edges(counts.Counts(0, 1, 32, 479), 1, 1)


@pytest.mark.parametrize(
    ("change", "expected"), [(edges.wider, (128, 32, 0)), (edges.narrower, (96, 0, 32)), (edges.moved, (124, 0, 4))]
)
def test_a_drawing_is_changed_by_one_pixel(vessel, change, expected):
    found = counts.count(vessel, change(vessel), INSIDE)
    assert (found.tp, found.fp, found.fn) == expected


def test_a_row_pools_the_photographs_that_were_drawn(vessel, monkeypatch):
    monkeypatch.setattr(edges.samples, "truth", lambda _: vessel)
    monkeypatch.setattr(edges.samples, "fov", lambda _: INSIDE)
    drawn = {1: edges.wider(vessel), 2: None, 3: vessel}
    assert edges.row("wider", drawn.get, [1, 2, 3]) == "| wider | .9412 | 100% | - |"
    assert edges.row("wider", drawn.get, [2]) is None
