"""Ablation of losses, architectures and augmentation: python -m experiments.ablation_training DATA [TRIAL ...].

DATA is a folder of images as stage download writes it (`data/raw/train` of a run with `data.validation_fraction: 0`).
Each trial differs in one respect from the baseline: the compact U-Net at half resolution, trained with BCE + Dice on
augmented patches by section `augment` of params.yaml without elastic deformation, in mixed precision (in float32 where
the processor has no bfloat16). All are trained for equally many steps, twice: on one half of the images, scored on the
other, and the other way round. F1 is at the best threshold of each half, which favours none of them. Differences are
paired by image; with `--seeds` they are of means over as many trainings, and the range over seeds is given as well.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments import short_training
from experiments.result_writer import RESULTS, ResultWriter, difference_columns, difference_values
from experiments.short_training import INFERENCE, LOSS, SEED, TrainingPlan, compact_unet
from experiments.soft_cldice import bce_dice_cldice_loss
from experiments.trial_networks import attention_unet, concatenated_unet, full_resolution_unet, w_net, wide_unet
from src.metrics import probability_metrics
from src.models import losses, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Params, load_params
from src.training import trainer

N_AUGMENTED = 3840  # augmented patches of each half, at least
DECAY = 0.99  # of the moving average, per step


class Trial(NamedTuple):
    """A network and its loss, and what else differs: averaging of weights, parameters of `augment`, scales of TTA.

    The network is from image to probabilities, of which the first counts.
    """

    build: Callable[[Params], tf.keras.Model] = compact_unet
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor] = LOSS
    average_weights: bool = False
    augment: dict[str, float] | None = None
    tta_scales: tuple[float, ...] = (1.0,)


class Scores(NamedTuple):
    """Scores from S seeds of N images: F1 (S, N), area under precision-recall (S, N); patients (N,); minutes."""

    f1: np.ndarray
    auc_pr: np.ndarray
    groups: np.ndarray
    minutes: float


class MovingAverage(tf.keras.callbacks.Callback):
    """Exponential moving average of all weights, taken at the end of training (Polyak & Juditsky, 1992).

    The weights of batch normalisation are averaged, too, which `use_ema` of Keras's optimizers leaves out.
    """

    def on_train_begin(self, logs: dict | None = None) -> None:
        """Start with the initial weights."""
        self.mean = self.model.get_weights()

    def on_train_batch_end(self, batch: int, logs: dict | None = None) -> None:
        """Move towards the weights of this step, faster at first."""
        decay = min(DECAY, (1 + batch) / (10 + batch))
        for mean, weight in zip(self.mean, self.model.get_weights(), strict=True):
            mean += (1 - decay) * (weight - mean)

    def on_train_end(self, logs: dict | None = None) -> None:
        """Set the weights to the average."""
        self.model.set_weights(self.mean)


fov = trainer.fov_weighted_loss
OTHER_SEED = "baseline, another seed"
WEAKER = {"noise_std": 0.0, "blur_sigma": 0.0, "gamma": 0.12}
STRONGER = {"noise_std": 0.04, "blur_sigma": 1.5, "gamma": 0.4, "contrast": 0.35, "colour": 0.15, "brightness": 0.15}
BASELINE = "BCE + Dice (baseline)"
TRIALS = {
    BASELINE: Trial(),
    OTHER_SEED: Trial(),
    "focal Dice loss": Trial(loss=fov(losses.get("focal_dice", 0.25, 2.0, None, 0.7))),
    "BCE + Tversky loss": Trial(loss=fov(partial(losses.bce_tversky_loss, fn_weight=0.7))),
    "unified focal loss": Trial(loss=fov(partial(losses.unified_focal_loss, gamma=0.5, fn_weight=0.6))),
    "BCE + Dice + soft clDice loss": Trial(loss=fov(bce_dice_cldice_loss)),
    "thin vessels weighted 3x": Trial(loss=fov(losses.weight_thin_vessels(losses.bce_dice_loss, 3.0))),
    "moving average of weights": Trial(average_weights=True),
    "1.5x channels": Trial(wide_unet),
    "full resolution": Trial(full_resolution_unet),
    "attention gates": Trial(attention_unet),
    "concatenated skips": Trial(concatenated_unet),
    "W-Net": Trial(w_net),
    "half of the augmented patches by 90-degree rotations only": Trial(augment={"rot90_only_fraction": 0.5}),
    "multi-scale TTA (1, 1.25, 1.5)": Trial(tta_scales=(1.0, 1.25, 1.5)),
    "weaker intensity augmentation": Trial(augment=WEAKER),
    "stronger intensity augmentation": Trial(augment=STRONGER),
}
SEED_COLUMNS = {name: [f"{name}_difference_seed_min", f"{name}_difference_seed_max"] for name in ("f1", "auc_pr")}
COLUMNS = (
    *("trial", "n_seeds", "n_images", "training_minutes", "mean_f1", *difference_columns("f1"), *SEED_COLUMNS["f1"]),
    *(*difference_columns("auc_pr"), *SEED_COLUMNS["auc_pr"]),
)


def split_folds(data: Path, folder: Path, n_folds: int = 2) -> Iterator[tuple[Path, Path]]:
    """Yield, for each of `n_folds` parts of the patients, the images of all others and those of the part.

    Raises:
        ValueError: there are fewer patients than folds.
    """
    images = short_training.find_real_images(data)
    patients = np.random.default_rng(SEED).permutation(sorted({sample.group for sample in images}))
    if len(patients) < n_folds:
        raise ValueError(f"{data}: expected at least {n_folds} patients, one for each fold, found {len(patients)}")
    bounds = [number * len(patients) // n_folds for number in range(n_folds + 1)]
    for number, (begin, end) in enumerate(pairwise(bounds), 1):
        held_out = set(patients[begin:end])
        train = (sample for sample in images if sample.group not in held_out)
        validation = (sample for sample in images if sample.group in held_out)
        yield (
            short_training.link_subset(train, folder / str(number) / "train"),
            short_training.link_subset(validation, folder / str(number) / "validation"),
        )


def score(trial: Trial, seeds: range, steps: int, train: Path, held_out: Path, params: Params) -> Scores:
    """Train on augmented patches of the images from each seed, score on those held out."""
    changed = params.model_copy(update={"augment": params.augment.model_copy(update=trial.augment or {})})
    inference = INFERENCE._replace(tta_scales=trial.tta_scales)
    f1, auc_pr, minutes = [], [], 0.0
    with tempfile.TemporaryDirectory() as folder:
        folders = [short_training.augment_subset(train, Path(folder), N_AUGMENTED, changed)]
        for seed in seeds:
            plan, callbacks = TrainingPlan(steps, seed=seed), [MovingAverage()] if trial.average_weights else []
            network, took = short_training.fit(partial(trial.build, params), trial.loss, folders, plan, callbacks)
            results = short_training.predict(network, held_out, params, inference)
            f1.append(results.f1(probability_metrics.best_threshold(results.pooled)))
            auc_pr.append(results.auc_pr())
            minutes += took / len(seeds)
    return Scores(np.stack(f1), np.stack(auc_pr), results.groups, minutes)


def join_halves(parts: list[Scores]) -> Scores:
    """Join the scores of both halves, image by image; minutes are added."""
    f1, auc_pr, groups, minutes = zip(*parts, strict=True)
    return Scores(np.hstack(f1), np.hstack(auc_pr), np.concatenate(groups), sum(minutes))


def difference(name: str, values: np.ndarray, base: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Compare scores (S, N) by columns: mean and interval; from several seeds also the least and largest of a seed."""
    mean = short_training.paired_difference(values.mean(axis=0), base.mean(axis=0), groups)
    of_seeds = (values - base).mean(axis=1)
    ends = (float(of_seeds.min()), float(of_seeds.max())) if len(of_seeds) > 1 else ()
    return difference_values(name, mean) | dict(zip(SEED_COLUMNS[name], ends, strict=False))


def main() -> None:
    """Write a row for each trial as it ends."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablation_training", description=__doc__.splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"some of: {'; '.join(TRIALS)}")
    parser.add_argument("--steps", type=int, default=200, help="of training (default: 200)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each trial (default: 1)")
    parser.add_argument("--results", type=Path, default=RESULTS / "ablation_training.csv", help="CSV to write")
    arguments = parser.parse_args()
    if unknown := set(arguments.trials) - set(TRIALS):
        parser.error(f"expected some of {'; '.join(TRIALS)}, got {'; '.join(sorted(unknown))}")
    if min(arguments.steps, arguments.seeds) < 1:
        parser.error(f"expected at least 1 for --steps and --seeds, got {arguments.steps} and {arguments.seeds}")
    params = load_params()
    tensorflow_setup.configure(params.train.cpu_threads, SEED)
    run_trials(list(dict.fromkeys([BASELINE, *(arguments.trials or TRIALS)])), arguments, params)


def run_trials(names: list[str], arguments: argparse.Namespace, params: Params) -> None:
    """Train and score the trials, the baseline first."""
    writer, base = ResultWriter(arguments.results, COLUMNS), None
    with tempfile.TemporaryDirectory() as folder:
        places = list(split_folds(arguments.data, Path(folder)))
        for name in names:
            first_seed = SEED + arguments.seeds * (name == OTHER_SEED)
            seeds = range(first_seed, first_seed + arguments.seeds)
            scores = join_halves([score(TRIALS[name], seeds, arguments.steps, *place, params) for place in places])
            base = base or scores
            differences = difference("f1", scores.f1, base.f1, base.groups)
            differences |= difference("auc_pr", scores.auc_pr, base.auc_pr, base.groups)
            writer.add(
                trial=name,
                n_seeds=arguments.seeds,
                n_images=len(base.groups),
                training_minutes=scores.minutes,
                mean_f1=float(scores.f1.mean()),
                **differences,
            )


if __name__ == "__main__":
    main()
