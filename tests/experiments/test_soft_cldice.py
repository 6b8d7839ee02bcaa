import numpy as np
import pytest

from experiments import soft_cldice
from src.models.tensorflow_setup import tf


def cldice_loss(truth: np.ndarray, probability: np.ndarray, weight: np.ndarray) -> float:
    return float(soft_cldice.cldice_loss(*(tf.constant(array, tf.float32) for array in (truth, probability, weight))))


def test_soft_cldice_counts_skeletons_and_not_widths():
    annotated, wider, elsewhere, fov = np.zeros((4, 1, 32, 32))
    annotated[0, 8], wider[0, 7:10], elsewhere[0, 20] = 1.0, 1.0, 1.0
    fov[0, :, :] = 1.0
    assert cldice_loss(annotated, annotated, fov) == pytest.approx(0.0, abs=1e-5)
    assert cldice_loss(annotated, wider, fov) == pytest.approx(0.0, abs=0.05)
    assert cldice_loss(annotated, elsewhere, fov) == pytest.approx(1.0, abs=1e-5)
    assert cldice_loss(annotated, np.maximum(annotated, elsewhere), fov) == pytest.approx(1 - 2 / 3, abs=1e-5)


def test_soft_cldice_ignores_predictions_outside_the_fov():
    annotated, elsewhere, fov = np.zeros((3, 1, 32, 32))
    annotated[0, 8], elsewhere[0, 20], fov[0, :18] = 1.0, 1.0, 1.0
    assert cldice_loss(annotated, np.maximum(annotated, elsewhere), fov) == pytest.approx(0.0, abs=1e-5)
