"""Losses of a vessel map, weighted pixel by pixel (0 outside the field of view).

Each maps truth (0 or 1), probability in [0, 1] and weight, three tensors of one shape and float type, to a scalar.
A weight may be any number of pixels, so that a loss can also be computed from a histogram. On several devices, each
computes the loss of its own part of the batch; the mean over the devices is minimised.
"""

from collections.abc import Callable
from functools import partial

from src.models.tensorflow_setup import tf

Loss = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
EPSILON = 1e-7
THIN_VESSEL_KERNEL = 5  # pixels of the network's input; narrower vessels are thin
SKELETON_EROSIONS = 7  # by a square of 3 pixels: enough for vessels of 15 pixels


def _weighted_mean(values: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Average `values` by `weight`; 0 where no pixel counts."""
    return tf.math.divide_no_nan(tf.reduce_sum(values * weight), tf.reduce_sum(weight))


def dice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """1 - (2 sum(p y) + eps) / (sum(p) + sum(y) + eps), sums over the batch (Drozdzal et al., DLMIA 2016)."""
    overlap = tf.reduce_sum(truth * probability * weight)
    total = tf.reduce_sum((truth + probability) * weight)
    return 1.0 - (2.0 * overlap + EPSILON) / (total + EPSILON)


def focal_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """Mean of - alpha (1 - p)^gamma y log(p) - (1 - alpha) p^gamma (1 - y) log(1 - p) (Lin et al., ICCV 2017).

    `alpha` in [0, 1] weights the vessel class; `gamma` >= 0 focuses on pixels that are hard to classify. p is clipped
    to [eps, 1 - eps], which bounds the loss and keeps its gradient finite.
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
    focal_weight: float | None,
) -> tf.Tensor:
    """Focal + Dice, or with a `focal_weight` lambda in [0, 1]: lambda focal + (1 - lambda) Dice."""
    focal = focal_loss(truth, probability, weight, alpha, gamma)
    overlap = dice_loss(truth, probability, weight)
    return focal + overlap if focal_weight is None else focal_weight * focal + (1.0 - focal_weight) * overlap


def bce_dice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Binary cross-entropy + Dice."""
    return bce_loss(truth, probability, weight) + dice_loss(truth, probability, weight)


def skeleton_recall_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """1 - (sum(s p) + eps) / (sum(s) + eps), sums over the batch of maps (B, H, W) (Kirchhoff et al., ECCV 2024).

    s is the skeleton of the vessels, dilated by a pixel and cut to the vessels: wide vessels count little more than
    thin ones of the same length. The skeleton is Lantuejoul's: the pixels that an opening removes, at each erosion.
    """
    skeleton, eroded = truth - dilate(erode(truth)), truth
    for _ in range(SKELETON_EROSIONS):
        eroded = erode(eroded)
        skeleton = tf.maximum(skeleton, eroded - dilate(erode(eroded)))
    found = tf.stop_gradient(dilate(skeleton) * truth) * weight
    return 1.0 - (tf.reduce_sum(found * probability) + EPSILON) / (tf.reduce_sum(found) + EPSILON)


def erode(maps: tf.Tensor, side: int = 3) -> tf.Tensor:
    """Erode maps (B, H, W) by a square of `side` pixels."""
    return -dilate(-maps, side)


def dilate(maps: tf.Tensor, side: int = 3) -> tf.Tensor:
    """Dilate maps (B, H, W) by a square of `side` pixels."""
    return tf.nn.max_pool2d(maps[..., None], side, 1, "SAME")[..., 0]


def tversky_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, fn_weight: float) -> tf.Tensor:
    """1 - (TP + eps) / (TP + fn_weight FN + (1 - fn_weight) FP + eps), sums over the batch.

    `fn_weight` in [0, 1] weights false negatives against false positives (Salehi et al., MLMI 2017, eq. 3); at 1/2
    this is the Dice loss.
    """
    tp = tf.reduce_sum(truth * probability * weight)
    fn = tf.reduce_sum(truth * (1.0 - probability) * weight)
    fp = tf.reduce_sum((1.0 - truth) * probability * weight)
    return 1.0 - (tp + EPSILON) / (tp + fn_weight * fn + (1.0 - fn_weight) * fp + EPSILON)


def bce_tversky_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, fn_weight: float) -> tf.Tensor:
    """Binary cross-entropy + Tversky."""
    return bce_loss(truth, probability, weight) + tversky_loss(truth, probability, weight, fn_weight)


def unified_focal_loss(
    truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor, gamma: float, fn_weight: float
) -> tf.Tensor:
    """Half asymmetric focal, half asymmetric focal Tversky loss (Yeung et al., CMIG 95, 2022), lambda 1/2.

    `gamma` in [0, 1) focuses on pixels that are hard to classify; `fn_weight` is their delta, the weight of the vessel
    class and of false negatives. As in their code, the Tversky terms of both classes are averaged; sums are over the
    batch.
    """
    p = tf.clip_by_value(probability, EPSILON, 1.0 - EPSILON)
    vessel = fn_weight * truth * tf.math.log(p)
    background = (1.0 - fn_weight) * (1.0 - truth) * tf.pow(p, gamma) * tf.math.log(1.0 - p)
    background_tversky = tversky_loss(1.0 - truth, 1.0 - p, weight, fn_weight)
    vessel_tversky = tf.pow(tf.maximum(tversky_loss(truth, p, weight, fn_weight), EPSILON), 1.0 - gamma)
    return 0.5 * _weighted_mean(-vessel - background, weight) + 0.25 * (background_tversky + vessel_tversky)


def weight_thin_vessels(loss: Loss, factor: float) -> Loss:
    """Weight the pixels of thin vessels by `factor` in a loss of maps (B, H, W); at 1 the loss itself.

    Thin is what a morphological opening of the truth by a square of THIN_VESSEL_KERNEL pixels removes: the thin
    vessels of the scores and most of the medium ones.
    """

    def weighted_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        thin = truth - dilate(erode(truth, THIN_VESSEL_KERNEL), THIN_VESSEL_KERNEL)
        return loss(truth, probability, weight * (1.0 + (factor - 1.0) * thin))

    return loss if factor == 1 else weighted_loss


def add_skeleton_recall(loss: Loss, factor: float) -> Loss:
    """Add `factor` times the skeleton recall loss to a loss of maps (B, H, W); at 0 the loss itself."""

    def extended_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
        return loss(truth, probability, weight) + factor * skeleton_recall_loss(truth, probability, weight)

    return extended_loss if factor else loss


def get(name: str, alpha: float, gamma: float, focal_weight: float | None, fn_weight: float) -> Loss:
    """Return the loss of a name with its parameters.

    Raises:
        ValueError: an unknown name; the message lists the known ones.
    """
    known: dict[str, Loss] = {
        "focal_dice": partial(focal_dice_loss, alpha=alpha, gamma=gamma, focal_weight=focal_weight),
        "dice": dice_loss,
        "focal": partial(focal_loss, alpha=alpha, gamma=gamma),
        "bce": bce_loss,
        "bce_dice": bce_dice_loss,
        "bce_tversky": partial(bce_tversky_loss, fn_weight=fn_weight),
        "unified_focal": partial(unified_focal_loss, gamma=gamma, fn_weight=fn_weight),
    }
    if name not in known:
        raise ValueError(f"loss.name: expected one of {', '.join(known)}, got {name!r}")
    return known[name]
