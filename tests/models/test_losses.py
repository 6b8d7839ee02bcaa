import math
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from src import params
from src.metrics.confusion_matrix import count, dice
from src.models import losses
from src.models.tensorflow_setup import tf

RNG = np.random.default_rng(1)
SHAPE = (2, 8, 8)
TRUTH = (RNG.random(SHAPE) < 0.3).astype(np.float32)
PROBABILITY = RNG.random(SHAPE).astype(np.float32)
FOV = (RNG.random(SHAPE) < 0.7).astype(np.float32)
NAMES = get_args(params.Loss.model_fields["name"].annotation)


def get_loss(
    name: str, alpha: float = 0.25, gamma: float = 0.5, focal_weight: float | None = None, fn_weight: float = 0.7
) -> losses.Loss:
    return losses.get(name, alpha, gamma, focal_weight, fn_weight)


def value(loss: losses.Loss, truth=TRUTH, probability=PROBABILITY, weight=FOV) -> float:
    return float(loss(tf.constant(truth), tf.constant(probability), tf.constant(weight)))


def test_focal_loss_of_one_pixel_by_hand():
    arguments = [np.array([number], np.float64) for number in (1.0, 0.8, 1.0)]
    assert value(get_loss("focal", gamma=2.0), *arguments) == pytest.approx(-0.25 * 0.2**2 * math.log(0.8))
    arguments[0][0] = 0.0
    assert value(get_loss("focal", gamma=2.0), *arguments) == pytest.approx(-0.75 * 0.8**2 * math.log(0.2))


def test_dice_loss_by_hand():
    truth, probability = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.5, 1.0])
    assert value(get_loss("dice"), truth, probability, np.ones(3)) == pytest.approx(1 - 2 * 1.5 / 4)


def test_dice_loss_of_a_binary_map_is_one_minus_dice():
    binary = (PROBABILITY > 0.5).astype(np.float32)
    c = count(TRUTH > 0.5, binary > 0.5, FOV > 0.5)
    assert value(get_loss("dice"), probability=binary) == pytest.approx(1 - dice(c), abs=1e-6)


def test_bce_agrees_with_keras():
    inside = FOV > 0
    keras = tf.keras.losses.binary_crossentropy(TRUTH[inside], PROBABILITY[inside])
    assert value(get_loss("bce")) == pytest.approx(float(keras), rel=1e-5)


@pytest.mark.parametrize("focal_weight", [0.0, 0.3, 1.0])
def test_focal_weight_weights_focal_against_dice(focal_weight):
    focal, overlap = value(get_loss("focal")), value(get_loss("dice"))
    expected = focal_weight * focal + (1 - focal_weight) * overlap
    assert value(get_loss("focal_dice", focal_weight=focal_weight)) == pytest.approx(expected, rel=1e-5)
    assert value(get_loss("focal_dice")) == pytest.approx(focal + overlap, rel=1e-5)


def test_tversky_loss_by_hand():
    arguments = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 1.0]), np.ones(3)
    tversky = value(get_loss("bce_tversky", fn_weight=0.9), *arguments) - value(get_loss("bce"), *arguments)
    assert tversky == pytest.approx(1 - 1.5 / (1.5 + 0.9 * 0.5 + 0.1 * 0.25), rel=1e-5)


def test_tversky_loss_at_one_half_is_the_dice_loss():
    assert value(get_loss("bce_tversky", fn_weight=0.5)) == pytest.approx(value(get_loss("bce_dice")), rel=1e-5)


def test_unified_focal_loss_of_one_pixel_by_hand():
    loss, arguments = (
        get_loss("unified_focal", fn_weight=0.6),
        [np.array([number], np.float64) for number in (1.0, 0.8, 1.0)],
    )
    expected = 0.5 * -0.6 * math.log(0.8) + 0.25 * (math.sqrt(1 - 0.8 / (0.8 + 0.6 * 0.2)) + 1)
    assert value(loss, *arguments) == pytest.approx(expected, rel=1e-5)
    arguments[0][0] = 0.0
    expected = 0.5 * -0.4 * math.sqrt(0.8) * math.log(0.2) + 0.25 * (1 - 0.2 / (0.2 + 0.6 * 0.8) + 1)
    assert value(loss, *arguments) == pytest.approx(expected, rel=1e-5)


def test_skeleton_recall_counts_wide_and_thin_vessels_alike():
    truth = np.zeros((1, 32, 64), np.float32)
    truth[0, 4:7] = truth[0, 16:25] = 1.0  # three and nine pixels wide, skeleton dilated to three; both to the border
    thin_missed, rim_missed, beyond = truth.copy(), truth.copy(), truth.copy()
    thin_missed[0, 4:7] = 0.0
    rim_missed[0, [16, 24]] = 0.0
    beyond[0, 7] = 1.0
    inside = np.ones_like(truth)

    def skeleton_recall(probability: np.ndarray) -> float:
        return value(losses.skeleton_recall_loss, truth, probability, inside)

    assert skeleton_recall(truth) == pytest.approx(0, abs=1e-6)
    assert skeleton_recall(np.zeros_like(truth)) == pytest.approx(1, abs=1e-5)
    assert skeleton_recall(rim_missed) == pytest.approx(0, abs=1e-6)
    assert skeleton_recall(beyond) == pytest.approx(0, abs=1e-6)
    assert skeleton_recall(thin_missed) == pytest.approx(0.5, abs=1e-6)


def test_skeleton_for_recall_lies_within_the_vessel():
    rows, columns = np.indices((1, 32, 32))[1:]
    truth = (np.abs(np.hypot(rows, columns) - 20) < 2).astype(np.float32)  # an arc
    recall, inside = losses.skeleton_recall_loss, np.ones_like(truth)
    assert value(recall, truth, truth, inside) == pytest.approx(0, abs=1e-6)
    assert value(recall, truth, 1 - truth, inside) == pytest.approx(1, abs=1e-6)
    assert 0.2 < value(recall, truth, truth * (columns < 14), inside) < 0.8


def test_skeleton_recall_is_added_with_its_weight():
    bce = get_loss("bce")
    assert losses.add_skeleton_recall(bce, 0.0) is bce
    expected = value(bce) + 2.5 * value(losses.skeleton_recall_loss)
    assert value(losses.add_skeleton_recall(bce, 2.5)) == pytest.approx(expected, rel=1e-6)
    assert value(losses.skeleton_recall_loss) > 0


@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_skeleton_recall_and_its_gradient_are_finite(truth, weight):
    probability = tf.Variable(np.zeros(SHAPE, np.float32))
    with tf.GradientTape() as tape:
        loss = losses.skeleton_recall_loss(tf.fill(SHAPE, truth), probability, tf.fill(SHAPE, weight))
    assert math.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, probability).numpy()).all()


def test_pixels_of_thin_vessels_are_weighted():
    truth = np.zeros((1, 32, 32), np.float32)
    truth[0, 4:7] = truth[0, 16:24] = 1.0  # three and eight pixels wide
    perfect, thin_missed, thick_missed = truth.copy(), truth.copy(), truth.copy()
    thin_missed[0, 4:7], thick_missed[0, 16:24] = 0.0, 0.0
    bce, inside = get_loss("bce"), np.ones_like(truth)
    weighted = losses.weight_thin_vessels(bce, 3.0)
    assert losses.weight_thin_vessels(bce, 1.0) is bce
    assert value(weighted, truth, perfect, inside) == pytest.approx(value(bce, truth, perfect, inside), abs=1e-6)
    total_weight = 32 * 32 + 2 * 3 * 32  # thin pixels count three times
    for missed, factor in ((thin_missed, 3), (thick_missed, 1)):
        expected = value(bce, truth, missed, inside) * factor * 32 * 32 / total_weight
        assert value(weighted, truth, missed, inside) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("factor", [1.0, 3.0])
def test_pixels_outside_the_fov_never_count(name, factor):
    other, loss = np.where(FOV > 0, PROBABILITY, 1 - PROBABILITY), losses.weight_thin_vessels(get_loss(name), factor)
    assert value(loss, probability=other) == pytest.approx(value(loss), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weight_is_a_number_of_pixels(name):
    doubled = [np.concatenate([array, array]) for array in (TRUTH, PROBABILITY, FOV)]
    assert value(get_loss(name), weight=2 * FOV) == pytest.approx(value(get_loss(name), *doubled), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("truth", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_loss_and_gradient_are_finite(name, truth, weight, confidence):
    probability = tf.Variable(np.full(SHAPE, confidence, np.float32))
    with tf.GradientTape() as tape:
        loss = get_loss(name)(tf.fill(SHAPE, truth), probability, tf.fill(SHAPE, weight))
    assert math.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, probability).numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_graph_and_eager_agree(name):
    assert value(tf.function(get_loss(name))) == pytest.approx(value(get_loss(name)), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_better_map_has_lower_loss(name):
    better = 0.5 * PROBABILITY + 0.5 * TRUTH
    assert value(get_loss(name), probability=better) < value(get_loss(name))


def test_params_yaml_lists_every_loss():
    line = next(line for line in Path("params.yaml").read_text(encoding="utf-8").splitlines() if "focal_dice," in line)
    assert line.split("# ")[1] == ", ".join(NAMES)


def test_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"expected one of {', '.join(NAMES)}, got 'hinge'"):
        get_loss("hinge")
