import numpy as np
import pytest

from benchmarks import trials
from src.backend import tf


def cldice_loss(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
    return float(trials.cldice_loss(*(tf.constant(array, tf.float32) for array in (truth, probability, weight))))


def test_soft_cldice_counts_centrelines_and_not_widths():
    drawn, wider, elsewhere, inside = np.zeros((4, 1, 32, 32))
    drawn[0, 8], wider[0, 7:10], elsewhere[0, 20] = 1.0, 1.0, 1.0
    inside[0, :, :] = 1.0
    assert cldice_loss(drawn, drawn, inside) == pytest.approx(0.0, abs=1e-5)
    assert cldice_loss(drawn, wider, inside) == pytest.approx(0.0, abs=0.05)
    assert cldice_loss(drawn, elsewhere, inside) == pytest.approx(1.0, abs=1e-5)
    assert cldice_loss(drawn, np.maximum(drawn, elsewhere), inside) == pytest.approx(1 - 2 / 3, abs=1e-5)
    inside[0, 18:] = 0.0  # of what is found there nothing counts
    assert cldice_loss(drawn, np.maximum(drawn, elsewhere), inside) == pytest.approx(0.0, abs=1e-5)


def test_difference_is_that_of_means_over_seeds_and_of_each_seed():
    base, groups = np.full((2, 4), 0.5), np.array(["a", "b", "c", "d"])
    mine = base + np.array([[0.01], [0.03]])
    assert trials.difference(mine, base, groups) == "+0.0200 [+0.0200, +0.0200]; +0.0100 to +0.0300"
    assert trials.difference(mine[:1], base[:1], groups) == "+0.0100 [+0.0100, +0.0100]"


def test_halves_are_joined_image_by_image():
    half = trials.Scores(np.zeros((3, 2)), np.ones((3, 2)), np.array(["a", "b"]), 1.5)
    both = trials.joined([half, half._replace(groups=np.array(["c"]), f1=np.ones((3, 1)), auc_pr=np.ones((3, 1)))])
    assert both.f1.tolist() == [[0, 0, 1]] * 3
    assert both.groups.tolist() == ["a", "b", "c"]
    assert both.minutes == 3.0
