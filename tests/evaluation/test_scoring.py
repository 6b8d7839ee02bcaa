from typing import get_args

import numpy as np
import pytest

from src import params
from src.evaluation.scoring import ImageScores, pooled_loss, threshold_free_scores
from src.metrics import probability_metrics
from src.metrics.confusion_matrix import Counts
from src.models import losses
from src.models.tensorflow_setup import tf

LOSS = losses.get("focal_dice", 0.25, 2.0, None, 0.7)
NAMES = get_args(params.Loss.model_fields["name"].annotation)


def random_map(seed: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Levels, ground truth and FOV."""
    rng = np.random.default_rng(seed)
    truth, fov = rng.random((30, 30)) < 0.2, rng.random((30, 30)) < 0.7
    probability = np.clip(0.3 * truth + 0.6 * rng.random(truth.shape), 0, 1)
    return np.round(probability * 65535).astype(np.uint16), truth, fov


@pytest.mark.parametrize("name", NAMES)
def test_loss_of_a_histogram_is_the_loss_of_the_map(name):
    levels, truth, fov = random_map()
    loss = losses.get(name, 0.25, 2.0, None, 0.7)
    direct = loss(*(tf.constant(array, tf.float64) for array in (truth, levels / 65535, fov)))
    assert pooled_loss(probability_metrics.histogram(levels, truth, fov), loss) == pytest.approx(float(direct))


@pytest.mark.parametrize(
    ("observer", "region", "expected"),
    [
        ("model", "fov", {"auc_roc", "auc_pr", "loss", "brier", "calibration_error"}),
        ("model", "full_image", {"auc_roc", "auc_pr", "loss"}),
        ("sato", "fov", {"auc_roc", "auc_pr"}),
    ],
)
def test_loss_and_calibration_are_of_the_model_alone(observer, region, expected):
    h = probability_metrics.histogram(*random_map())
    assert set(threshold_free_scores(h, observer, region, LOSS)) == expected


def test_row_holds_place_counts_and_scores():
    scores = ImageScores("drive", "01", "a", "model", "fov", Counts(1, 2, 3, 4), {"f1": 0.5})
    assert scores.as_row() == {
        "dataset": "drive", "id": "01", "group": "a", "observer": "model", "region": "fov",
        "tp": 1, "fp": 2, "fn": 3, "tn": 4, "f1": 0.5,
    }  # fmt: skip
