"""Losses, networks and tricks that were tried: python -m benchmarks.trials DATA [NAME ...].

DATA is a folder of photographs as stage download writes it (`data/raw/train` of a run with `data.validation: 0`). Each
trial differs in one respect from the first: the compact network at half resolution, trained with BCE + Dice on variants
of patches within the limits of params.yaml, unbent, in mixed precision (in float32 where the processor has no
bfloat16). All are trained for equally many steps, twice: on one half of the photographs, scored on the other. F1 is at
the best threshold of each half, which favours none of them; differences are paired, image by image; with `--seeds`,
they are of the means over as many trainings, and those of each are told as well. What helps belongs into `src`.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from benchmarks import short_training
from benchmarks.short_training import LOSS, SEED, Plan, compact
from src import backend, checkpoints, losses, metrics, models, residual_unet, training
from src.backend import tf
from src.params import Params, load_params

VARIANTS = 3840  # changed patches of each half
SKELETON_STEPS = 5  # of erosion, as many as the half width of the widest vessels
DECAY = 0.99  # of the moving average, a step
layers = tf.keras.layers


class Trial(NamedTuple):
    """A network (image to probabilities of which the first counts), its loss, and what else differs.

    That is whether weights are averaged, the changes of section `augment`, and the scales of the photographs shown.
    """

    network: Callable[[Params], tf.keras.Model] = compact
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = LOSS
    averaged: bool = False
    augment: dict[str, float] | None = None
    scales: tuple[float, ...] = (1.0,)


class Scores(NamedTuple):
    """From S seeds, of N photographs: F1 (S, N), area under precision and recall (S, N); persons (N,); minutes."""

    f1: np.ndarray
    auc_pr: np.ndarray
    groups: np.ndarray
    minutes: float


class MovingAverage(tf.keras.callbacks.Callback):
    """The exponential moving average of all weights, which the network has at the end (Polyak & Juditsky, 1992).

    Those of batch normalisation, too, which `use_ema` of Keras's optimizers leaves out.
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Begin with the first weights."""
        self.mean = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move towards the weights of this step, faster at first."""
        decay = min(DECAY, (1 + batch) / (10 + batch))
        for mean, weight in zip(self.mean, self.model.get_weights(), strict=True):
            mean += (1 - decay) * (weight - mean)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Take the average."""
        self.model.set_weights(self.mean)


def wider(params: Params) -> tf.keras.Model:
    """The compact network with half as many filters again at each level."""
    return models.build(
        "residual_unet", "", None, [width * 3 // 2 for width in params.model.filters], params.patch.size
    )


def full_resolution(params: Params) -> tf.keras.Model:
    """The same levels of the same widths, the first at full resolution."""
    image, widths = tf.keras.Input((None, None, 3)), params.model.filters
    x = layers.ReLU()(residual_unet.convolution(residual_unet.standardised(image), widths[0], 3))
    return _finished(image, residual_unet.levels(x, widths))


def concatenated(params: Params) -> tf.keras.Model:
    """The compact network with each skip concatenated with what comes from below, as in the first U-Net, not added."""
    image, widths = tf.keras.Input((None, None, 3)), params.model.filters
    standard = residual_unet.standardised(image)
    x, skips = _encoded(standard, widths)
    for skip in reversed(skips):
        x = layers.Concatenate()([layers.UpSampling2D()(x), skip])
        x = residual_unet.residual_block(x, skip.shape[-1])
    return _decoded(image, standard, x, widths)


def w_net(params: Params) -> tf.keras.Model:
    """Two of them, one after the other, trained together."""
    return models.build("residual_w_net", "", None, params.model.filters, params.patch.size)


def attention(params: Params) -> tf.keras.Model:
    """The compact network with gates on its skips (Oktay et al., MIDL 2018), which what comes from below opens."""
    image, widths = tf.keras.Input((None, None, 3)), params.model.filters
    standard = residual_unet.standardised(image)
    x, skips = _encoded(standard, widths)
    for skip in reversed(skips):
        width = skip.shape[-1]
        below = layers.UpSampling2D()(residual_unet.convolution(x, width, 1))
        both = [residual_unet.convolution(part, width // 2, 1) for part in (skip, below)]
        gate = layers.Conv2D(1, 1, activation="sigmoid")(layers.ReLU()(layers.Add()(both)))
        x = residual_unet.residual_block(layers.Add()([below, layers.Multiply()([skip, gate])]), width)
    return _decoded(image, standard, x, widths)


def _encoded(standard: tf.Tensor, widths: tuple[int, ...]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """The way down of the compact network: its lowest level, and the skips from half resolution on."""
    x = layers.ReLU()(residual_unet.convolution(standard, widths[1], residual_unet.ENTRANCE, 2))
    skips = []
    for width in widths[1:-1]:
        skips.append(residual_unet.residual_block(x, width))
        x = layers.MaxPooling2D()(skips[-1])
    return residual_unet.residual_block(x, widths[-1]), skips


def _decoded(image: tf.Tensor, standard: tf.Tensor, x: tf.Tensor, widths: tuple[int, ...]) -> tf.keras.Model:
    """The rest of the compact network, from half resolution to full."""
    x = layers.Concatenate()([layers.Conv2DTranspose(widths[0], 2, 2)(x), standard])
    return _finished(image, layers.ReLU()(residual_unet.convolution(x, widths[0], 3)))


def _finished(image: tf.Tensor, x: tf.Tensor) -> tf.keras.Model:
    probability = layers.Activation("sigmoid", dtype="float32")(residual_unet.logit(x))
    return tf.keras.Model(image, probability)


def cldice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """1 - soft clDice (Shit et al., CVPR 2021, algorithm 1 and eq. 3)."""
    found, drawn = _soft_skeleton(probability * weight), _soft_skeleton(truth * weight)
    precision, recall = _share(found, truth * weight), _share(drawn, probability * weight)
    return 1 - 2 * precision * recall / (precision + recall + losses.EPSILON)


def _share(skeleton: tf.Tensor, vessels: tf.Tensor) -> tf.Tensor:
    return (tf.reduce_sum(skeleton * vessels) + losses.EPSILON) / (tf.reduce_sum(skeleton) + losses.EPSILON)


def _soft_skeleton(vessels: tf.Tensor) -> tf.Tensor:
    skeleton = tf.nn.relu(vessels - _opened(vessels))
    for _ in range(SKELETON_STEPS):
        vessels = _eroded(vessels)
        ridge = tf.nn.relu(vessels - _opened(vessels))
        skeleton += tf.nn.relu(ridge - skeleton * ridge)
    return skeleton


def _eroded(vessels: tf.Tensor) -> tf.Tensor:
    return -tf.nn.max_pool2d(-vessels[..., None], 3, 1, "SAME")[..., 0]


def _opened(vessels: tf.Tensor) -> tf.Tensor:
    return tf.nn.max_pool2d(_eroded(vessels)[..., None], 3, 1, "SAME")[..., 0]


def bce_dice_cldice_loss(truth: tf.Tensor, probability: tf.Tensor, weight: tf.Tensor) -> tf.Tensor:
    """BCE + Dice + soft clDice."""
    return losses.bce_dice_loss(truth, probability, weight) + cldice_loss(truth, probability, weight)


STRONGER = {"noise": 0.04, "blur": 1.5, "gamma": 0.4, "contrast": 0.35, "colour": 0.15, "brightness": 0.15}
WEIGHED = losses.weighing_narrow(losses.bce_dice_loss, 3.0)
FOCAL_DICE = training.in_fov(losses.get("focal_dice", 0.25, 2.0, None, 0.7))
AGAIN = "again, other seeds"
TRIALS = {
    "BCE + Dice": Trial(),
    AGAIN: Trial(),
    "focal Dice": Trial(loss=FOCAL_DICE),
    "BCE + Tversky": Trial(loss=training.in_fov(partial(losses.bce_tversky_loss, beta=0.7))),
    "unified focal": Trial(loss=training.in_fov(partial(losses.unified_focal_loss, gamma=0.5, beta=0.6))),
    "BCE + Dice + soft clDice": Trial(loss=training.in_fov(bce_dice_cldice_loss)),
    "vessels narrower than 5 pixels count three times": Trial(loss=training.in_fov(WEIGHED)),
    "moving average of weights": Trial(averaged=True),
    "half as wide again": Trial(wider),
    "full resolution": Trial(full_resolution),
    "attention gates": Trial(attention),
    "skips concatenated, not added": Trial(concatenated),
    "W-Net": Trial(w_net),
    "half of the variants turned by quarter turns only": Trial(augment={"exact": 0.5}),
    "photographs shown in three scales: 1, 1.25 and 1.5": Trial(scales=(1.0, 1.25, 1.5)),
    "no noise, no blur, half the changes of gamma": Trial(augment={"noise": 0.0, "blur": 0.0, "gamma": 0.12}),
    "stronger noise, blur, gamma, contrast, colours": Trial(augment=STRONGER),
}


def halves(data: Path, folder: Path) -> Iterator[tuple[Path, Path]]:
    """The photographs of one half of the people, and of the other half; then the other way round."""
    found = short_training.photographs(data)
    people = sorted({sample.group for sample in found})
    first = set(np.random.default_rng(SEED).permutation(people)[: len(people) // 2])
    for name, held_out in (("first", first), ("second", set(people) - first)):
        train = short_training.subset((s for s in found if s.group not in held_out), folder / name / "train")
        yield train, short_training.subset((s for s in found if s.group in held_out), folder / name / "validation")


def score(trial: Trial, seeds: range, steps: int, train: Path, held_out: Path, params: Params) -> Scores:
    """Train on variants of the photographs from each seed, score on those held out."""
    changed = params.model_copy(update={"augment": params.augment.model_copy(update=trial.augment or {})})
    views = short_training.VIEWS._replace(scales=trial.scales)
    f1, auc_pr, minutes = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        folders = [short_training.augmented(train, Path(folder), VARIANTS, changed)]
        for seed in seeds:
            plan, average = Plan(steps, seed=seed), [MovingAverage()] if trial.averaged else []
            network, took = short_training.fit(partial(trial.network, params), trial.loss, folders, plan, average)
            results = short_training.predict(network, held_out, params, views)
            f1.append(results.f1(metrics.best_threshold(results.pooled)))
            auc_pr.append(results.auc_pr())
            minutes += took / len(seeds)
    return Scores(np.stack(f1), np.stack(auc_pr), results.groups, minutes)


def joined(parts: list[Scores]) -> Scores:
    """Those of both halves."""
    f1, auc_pr, groups, minutes = zip(*parts, strict=True)
    return Scores(np.hstack(f1), np.hstack(auc_pr), np.concatenate(groups), sum(minutes))


def difference(mine: np.ndarray, base: np.ndarray, groups: np.ndarray) -> str:
    """Of scores (S, N), as a cell of a table: mean and interval; of several seeds also the least and the most."""
    mean = short_training.cell(short_training.difference(mine.mean(axis=0), base.mean(axis=0), groups))
    of_seeds = (mine - base).mean(axis=1)
    return f"{mean}; {of_seeds.min():+.4f} to {of_seeds.max():+.4f}" if len(of_seeds) > 1 else mean


def main() -> None:
    """Print a row of a Markdown table for each trial as it ends."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trials", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of: {', '.join(TRIALS)}")
    parser.add_argument("--steps", type=int, default=200, help="of training; default 200")
    parser.add_argument("--seeds", type=int, default=1, help="from which each is trained; default 1")
    given = parser.parse_args()
    first, *others = TRIALS
    if unknown := set(given.names) - set(TRIALS):
        parser.error(f"expected some of {', '.join(TRIALS)}, got {', '.join(sorted(unknown))}")
    if min(given.steps, given.seeds) < 1:
        parser.error(f"expected at least 1 for --steps and --seeds, got {given.steps} and {given.seeds}")
    params = load_params()
    backend.configure(params.train.threads, SEED)
    print("| trial | minutes | mean F1 | F1, difference | AUC-PR, difference |\n| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        places = list(halves(given.data, Path(folder)))
        backend.set_precision(mixed_precision=True)
        if backend.emulates_bfloat16(checkpoints.processor()):
            backend.set_precision(mixed_precision=False)
        base = None
        for name in (first, *(name for name in others if name in (given.names or others))):
            begin = SEED + given.seeds * (name == AGAIN)
            seeds = range(begin, begin + given.seeds)
            mine = joined([score(TRIALS[name], seeds, given.steps, *place, params) for place in places])
            base = base or mine
            pairs = (mine.f1, base.f1), (mine.auc_pr, base.auc_pr)
            cells = [difference(*pair, base.groups) for pair in pairs]
            tqdm.write(f"| {name} | {mine.minutes:.1f} | {mine.f1.mean():.4f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
