import math
from typing import get_args

import numpy as np
import pytest

from src import losses, params
from src.backend import tf
from src.counts import count, dice

RNG = np.random.default_rng(1)
SHAPE = (2, 8, 8)
TRUTH = (RNG.random(SHAPE) < 0.3).astype(np.float32)
PROBABILITY = RNG.random(SHAPE).astype(np.float32)
FOV = (RNG.random(SHAPE) < 0.7).astype(np.float32)
NAMES = ("focal_dice", "dice", "focal", "bce", "bce_dice", "bce_tversky", "unified_focal")


def named(
    name: str, alpha: float = 0.25, gamma: float = 0.5, balance: float | None = None, beta: float = 0.7
) -> losses.Loss:
    return losses.get(name, alpha, gamma, balance, beta)


def value(loss: losses.Loss, truth=TRUTH, probability=PROBABILITY, weight=FOV) -> float:
    return float(loss(tf.constant(truth), tf.constant(probability), tf.constant(weight)))


def test_focal_loss_of_one_pixel_by_hand():
    arguments = [np.array([number], np.float64) for number in (1.0, 0.8, 1.0)]
    assert value(named("focal", gamma=2.0), *arguments) == pytest.approx(-0.25 * 0.2**2 * math.log(0.8))
    arguments[0][0] = 0.0
    assert value(named("focal", gamma=2.0), *arguments) == pytest.approx(-0.75 * 0.8**2 * math.log(0.2))


def test_dice_loss_by_hand():
    truth, probability = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.5, 1.0])
    assert value(named("dice"), truth, probability, np.ones(3)) == pytest.approx(1 - 2 * 1.5 / 4)


def test_dice_loss_of_a_binary_map_is_one_minus_dice():
    binary = (PROBABILITY > 0.5).astype(np.float32)
    c = count(TRUTH > 0.5, binary > 0.5, FOV > 0.5)
    assert value(named("dice"), probability=binary) == pytest.approx(1 - dice(c), abs=1e-6)


def test_bce_agrees_with_keras():
    inside = FOV > 0
    keras = tf.keras.losses.binary_crossentropy(TRUTH[inside], PROBABILITY[inside])
    assert value(named("bce")) == pytest.approx(float(keras), rel=1e-5)


@pytest.mark.parametrize("balance", [0.0, 0.3, 1.0])
def test_balance_weighs_focal_against_dice(balance):
    focal, overlap = value(named("focal")), value(named("dice"))
    expected = balance * focal + (1 - balance) * overlap
    assert value(named("focal_dice", balance=balance)) == pytest.approx(expected, rel=1e-5)
    assert value(named("focal_dice")) == pytest.approx(focal + overlap, rel=1e-5)


def test_tversky_loss_by_hand():
    arguments = np.array([1.0, 0.0, 1.0]), np.array([0.5, 0.25, 1.0]), np.ones(3)
    tversky = value(named("bce_tversky", beta=0.9), *arguments) - value(named("bce"), *arguments)
    assert tversky == pytest.approx(1 - 1.5 / (1.5 + 0.9 * 0.5 + 0.1 * 0.25), rel=1e-5)


def test_tversky_loss_at_one_half_is_the_dice_loss():
    assert value(named("bce_tversky", beta=0.5)) == pytest.approx(value(named("bce_dice")), rel=1e-5)


def test_unified_focal_loss_of_one_pixel_by_hand():
    loss, arguments = named("unified_focal", beta=0.6), [np.array([number], np.float64) for number in (1.0, 0.8, 1.0)]
    expected = 0.5 * -0.6 * math.log(0.8) + 0.25 * (math.sqrt(1 - 0.8 / (0.8 + 0.6 * 0.2)) + 1)
    assert value(loss, *arguments) == pytest.approx(expected, rel=1e-5)
    arguments[0][0] = 0.0
    expected = 0.5 * -0.4 * math.sqrt(0.8) * math.log(0.2) + 0.25 * (1 - 0.2 / (0.2 + 0.6 * 0.8) + 1)
    assert value(loss, *arguments) == pytest.approx(expected, rel=1e-5)


def test_narrow_vessels_count_so_many_times():
    truth = np.zeros((1, 32, 32), np.float32)
    truth[0, 4:7] = truth[0, 16:24] = 1.0  # three and eight pixels wide
    right, thin_missed, thick_missed = truth.copy(), truth.copy(), truth.copy()
    thin_missed[0, 4:7], thick_missed[0, 16:24] = 0.0, 0.0
    bce, inside = named("bce"), np.ones_like(truth)
    weighed = losses.weighing_narrow(bce, 3.0)
    assert losses.weighing_narrow(bce, 1.0) is bce
    assert value(weighed, truth, right, inside) == pytest.approx(value(bce, truth, right, inside), abs=1e-6)
    mass = 32 * 32 + 2 * 3 * 32  # of all weights: narrow pixels three times
    for missed, times in ((thin_missed, 3), (thick_missed, 1)):
        expected = value(bce, truth, missed, inside) * times * 32 * 32 / mass
        assert value(weighed, truth, missed, inside) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("times", [1.0, 3.0])
def test_pixels_outside_the_fov_never_count(name, times):
    other, loss = np.where(FOV > 0, PROBABILITY, 1 - PROBABILITY), losses.weighing_narrow(named(name), times)
    assert value(loss, probability=other) == pytest.approx(value(loss), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_weight_is_a_number_of_pixels(name):
    doubled = [np.concatenate([array, array]) for array in (TRUTH, PROBABILITY, FOV)]
    assert value(named(name), weight=2 * FOV) == pytest.approx(value(named(name), *doubled), rel=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("filled", [0.0, 1.0])
@pytest.mark.parametrize("weight", [0.0, 1.0])
@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_loss_and_gradient_are_finite(name, filled, weight, sure):
    probability = tf.Variable(np.full(SHAPE, sure, np.float32))
    with tf.GradientTape() as tape:
        loss = named(name)(tf.fill(SHAPE, filled), probability, tf.fill(SHAPE, weight))
    assert math.isfinite(float(loss))
    assert np.isfinite(tape.gradient(loss, probability).numpy()).all()


@pytest.mark.parametrize("name", NAMES)
def test_graph_and_eager_agree(name):
    assert value(tf.function(named(name))) == pytest.approx(value(named(name)), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_better_map_has_lower_loss(name):
    better = 0.5 * PROBABILITY + 0.5 * TRUTH
    assert value(named(name), probability=better) < value(named(name))


def test_every_loss_of_the_parameters_is_known():
    assert get_args(params.Loss.model_fields["name"].annotation) == NAMES


def test_unknown_loss_lists_the_known_ones():
    with pytest.raises(ValueError, match=f"expected one of {', '.join(NAMES)}, got 'hinge'"):
        named("hinge")
