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
