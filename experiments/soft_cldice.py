"""Soft clDice loss (Shit et al., CVPR 2021), on (B, H, W) float32 ground truth, probability and weight (FOV)."""

from src.models import losses
from src.models.tensorflow_setup import tf

SKELETON_STEPS = 5  # erosions, as many as the half width of the widest vessels


def cldice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Compute 1 - soft clDice (Shit et al., CVPR 2021, algorithm 1 and eq. 3)."""
    predicted, annotated = _soft_skeleton(probability * weight), _soft_skeleton(truth * weight)
    precision = _fraction_inside(predicted, truth * weight)
    recall = _fraction_inside(annotated, probability * weight)
    return 1 - 2 * precision * recall / (precision + recall + losses.EPSILON)


def _fraction_inside(skeleton: tf.Tensor, vessels: tf.Tensor) -> tf.Tensor:
    return (tf.reduce_sum(skeleton * vessels) + losses.EPSILON) / (tf.reduce_sum(skeleton) + losses.EPSILON)


def _soft_skeleton(vessels: tf.Tensor) -> tf.Tensor:
    skeleton = tf.nn.relu(vessels - _open(vessels))
    for _ in range(SKELETON_STEPS):
        vessels = losses.erode(vessels)
        ridge = tf.nn.relu(vessels - _open(vessels))
        skeleton += tf.nn.relu(ridge - skeleton * ridge)
    return skeleton


def _open(vessels: tf.Tensor) -> tf.Tensor:
    return losses.dilate(losses.erode(vessels))


def bce_dice_cldice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """Compute BCE + Dice + soft clDice."""
    return losses.bce_dice_loss(truth, probability, weight) + cldice_loss(truth, probability, weight)
