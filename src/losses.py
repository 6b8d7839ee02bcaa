"""Losses of a vessel map, weighted pixel by pixel (0 outside the field of view).

Each takes truth (0 or 1), probability in [0, 1] and weight, three tensors of one shape and float type, and
returns a scalar. A weight may be any number of pixels, so a loss can also be taken from a histogram. Where several
devices train, each takes the loss of its own part of the batch, and their mean is lowered.
"""

from collections.abc import Callable
from functools import partial

from src.backend import tf

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
EPSILON = 1e-7
NARROW_SIDE = 5  # pixels of the network's input; vessels less wide are narrow


def _weighted_mean(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Mean of `values` by `weight`; 0 where no pixel counts."""
    return tf.math.divide_no_nan(tf.reduce_sum(values * weight), tf.reduce_sum(weight))


def dice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """1 - (2 sum(p y) + eps) / (sum(p) + sum(y) + eps), sums over the batch (Drozdzal et al., DLMIA 2016)."""
    overlap = tf.reduce_sum(truth * probability * weight)
    total = tf.reduce_sum((truth + probability) * weight)
    return 1.0 - (2.0 * overlap + EPSILON) / (total + EPSILON)


def focal_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Mean of - alpha (1 - p)^gamma y log(p) - (1 - alpha) p^gamma (1 - y) log(1 - p) (Lin et al., ICCV 2017).

    `alpha` in [0, 1] weighs the vessel class, `gamma` >= 0 focuses on what is hard; p is kept eps away from 0
    and 1, which bounds the loss and keeps its gradient finite.
    """
    p = tf.clip_by_value(probability, EPSILON, 1.0 - EPSILON)
    vessel = alpha * tf.pow(1.0 - p, gamma) * truth * tf.math.log(p)
    background = (1.0 - alpha) * tf.pow(p, gamma) * (1.0 - truth) * tf.math.log(1.0 - p)
    return _weighted_mean(-vessel - background, weight)


def bce_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Mean binary cross-entropy: twice the focal loss at alpha 1/2 and gamma 0."""
    return 2.0 * focal_loss(truth, probability, weight, alpha=0.5, gamma=0.0)


def focal_dice_loss(
    truth: tf.Tensor,
    probability: tf.Tensor,
    weight: tf.Tensor,
    alpha: float,
    gamma: float,
    balance: float | None,
) -> tf.Tensor:
    """Focal + Dice, or with a `balance` lambda in [0, 1]: lambda focal + (1 - lambda) Dice."""
    focal = focal_loss(truth, probability, weight, alpha, gamma)
    overlap = dice_loss(truth, probability, weight)
    return focal + overlap if balance is None else balance * focal + (1.0 - balance) * overlap


def bce_dice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy + Dice."""
    return bce_loss(truth, probability, weight) + dice_loss(truth, probability, weight)


def tversky_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, beta: float) -> tf.Tensor:
    """1 - (TP + eps) / (TP + beta FN + (1 - beta) FP + eps), sums over the batch (Salehi et al., MLMI 2017, eq. 3).

    `beta` in [0, 1] weighs missed vessels against false ones; at 1/2 this is the Dice loss.
    """
    hit, missed, false = (
        tf.reduce_sum(part * weight)
        for part in (truth * probability, truth * (1.0 - probability), (1.0 - truth) * probability)
    )
    return 1.0 - (hit + EPSILON) / (hit + beta * missed + (1.0 - beta) * false + EPSILON)


def bce_tversky_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, beta: float) -> tf.Tensor:
    """Binary cross-entropy + Tversky."""
    return bce_loss(truth, probability, weight) + tversky_loss(truth, probability, weight, beta)


def unified_focal_loss(
    truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, gamma: float, beta: float
) -> tf.Tensor:
    """Half asymmetric focal, half asymmetric focal Tversky loss (Yeung et al., CMIG 95, 2022), lambda 1/2.

    `gamma` in [0, 1) focuses on what is hard; `beta` is their delta, the weight of the vessel class and of what is
    missed. As in their code, the Tversky terms of both classes are averaged; sums are over the batch.
    """
    p = tf.clip_by_value(probability, EPSILON, 1.0 - EPSILON)
    vessel = beta * truth * tf.math.log(p)
    background = (1.0 - beta) * (1.0 - truth) * tf.pow(p, gamma) * tf.math.log(1.0 - p)
    of_background = tversky_loss(1.0 - truth, 1.0 - p, weight, beta)
    of_vessel = tf.pow(tf.maximum(tversky_loss(truth, p, weight, beta), EPSILON), 1.0 - gamma)
    return 0.5 * _weighted_mean(-vessel - background, weight) + 0.25 * (of_background + of_vessel)


def weighing_narrow(loss: Loss, times: float) -> Loss:
    """That loss of maps (B, H, W), pixels of narrow vessels counting so many times; itself where that is once.

    Narrow is what an opening of the truth by a square of NARROW_SIDE pixels removes: what is called thin in the scores,
    and most of what is called middle there.
    """

    def weighed(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        eroded = -tf.nn.max_pool2d(-truth[..., None], NARROW_SIDE, 1, "SAME")
        narrow = truth - tf.nn.max_pool2d(eroded, NARROW_SIDE, 1, "SAME")[..., 0]
        return loss(truth, probability, weight * (1.0 + (times - 1.0) * narrow))

    return loss if times == 1 else weighed


def get(name: str, alpha: float, gamma: float, balance: float | None, beta: float) -> Loss:
    """The loss of that name; ValueError with the known ones for another."""
    known: dict[str, Loss] = {
        "focal_dice": partial(focal_dice_loss, alpha=alpha, gamma=gamma, balance=balance),
        "dice": dice_loss,
        "focal": partial(focal_loss, alpha=alpha, gamma=gamma),
        "bce": bce_loss,
        "bce_dice": bce_dice_loss,
        "bce_tversky": partial(bce_tversky_loss, beta=beta),
        "unified_focal": partial(unified_focal_loss, gamma=gamma, beta=beta),
    }
    if name not in known:
        raise ValueError(f"loss.name: expected one of {', '.join(known)}, got {name!r}")
    return known[name]
