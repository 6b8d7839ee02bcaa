"""Score members of an ensemble: python -m experiments.ensemble_members [--together N] [--results members.csv].

Reads the output of stages train and download: data/model/model.h5, data/raw/validation and data/raw/test. Each member
is scored alone, or with --together each choice of N members, whose probabilities are averaged. Each gets a threshold of
its own from the validation images, unless `evaluate.threshold` is a number. Scores are pooled over the FOV of all test
images; clDice is a mean over images.
"""

import argparse
import itertools
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from experiments import short_training
from experiments.result_writer import ResultWriter
from src.common import probability_levels
from src.data import samples
from src.data.samples import Sample
from src.inference import predict_dataset
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.metrics.probability_metrics import EMPTY, Histogram
from src.models import architectures, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Params, load_params

SCORES = ("f1", "auc_roc", "auc_pr", "mcc", "cldice")
Chosen = tuple[int, ...]  # numbers of members, from 1


class MemberPredictor:
    """Members of an ensemble, of which each choice of some is predicted."""

    def __init__(self, members: list[tf.keras.Model], together: int, params: Params) -> None:
        """Choose `together` of the members."""
        inference = InferenceConfig(**params.evaluate.model_dump(include=set(InferenceConfig._fields)))
        self._predictors = [
            SlidingWindowPredictor(architectures.as_numpy_function(member), member.input_shape[1], inference)
            for member in members
        ]
        self._size = params.preprocess.fov_diameter, params.preprocess.clahe_clip_limit
        self.choices: list[Chosen] = list(itertools.combinations(range(1, len(members) + 1), together))

    def predict(self, root: Path) -> Iterator[tuple[Sample, Chosen, np.ndarray]]:
        """Yield the probability of each image below `root` by each choice, (H, W) as levels of 16 bits."""
        by_member = (predict_dataset.predict_subset(root, predictor, *self._size) for predictor in self._predictors)
        for predicted in zip(*by_member, strict=True):
            sample, maps = predicted[0][0], [prediction.probability for _, prediction in predicted]
            for chosen in self.choices:
                mean = np.mean([maps[number - 1] for number in chosen], axis=0)
                yield sample, chosen, probability_levels.to_levels(mean)

    def choose_thresholds(self, root: Path) -> dict[Chosen, float]:
        """Choose the threshold of each choice on the images below `root`: best mean over data sets of pooled F1."""
        pooled: dict[Chosen, defaultdict[str, Histogram]] = {
            chosen: defaultdict(lambda: EMPTY) for chosen in self.choices
        }
        for sample, chosen, levels in self.predict(root):
            histogram = probability_metrics.histogram(levels, samples.truth(sample), samples.fov(sample))
            pooled[chosen][sample.dataset] += histogram
        return {chosen: probability_metrics.best_threshold(*of_sets.values()) for chosen, of_sets in pooled.items()}


def score(
    predictor: MemberPredictor, root: Path, thresholds: dict[Chosen, float], params: Params
) -> dict[tuple[Chosen, str], dict[str, float]]:
    """Score each choice of members on each test set."""
    pooled: defaultdict[tuple[Chosen, str], Histogram] = defaultdict(lambda: EMPTY)
    cldice: defaultdict[tuple[Chosen, str], list[float]] = defaultdict(list)
    for sample, chosen, levels in predictor.predict(root):
        key = chosen, sample.dataset
        pooled[key] += probability_metrics.histogram(levels, samples.truth(sample), samples.fov(sample))
        cldice[key].append(short_training.cldice(levels, thresholds[chosen], sample, params))
    return {
        key: probability_metrics.scores_at(pooled[key], thresholds[key[0]]) | {"cldice": float(np.nanmean(cldice[key]))}
        for key in sorted(pooled)
    }


def main() -> None:
    """Write a row for each choice of members and test set."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ensemble_members",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--together", type=int, default=1, metavar="N", help="members that are averaged (default: 1)")
    parser.add_argument("--results", type=Path, default=Path("members.csv"), help="CSV to write (default: members.csv)")
    arguments = parser.parse_args()
    params = load_params()
    tensorflow_setup.configure(params.train.cpu_threads)
    network = model_io.load(Path("data/model/model.h5"))
    members = [layer for layer in network.layers if layer.name.startswith("member_")] or [network]
    if not 1 <= arguments.together <= len(members):
        parser.error(f"--together: expected 1 to the {len(members)} members, got {arguments.together}")
    predictor, threshold = MemberPredictor(members, arguments.together, params), params.evaluate.threshold
    if threshold is None:
        thresholds = predictor.choose_thresholds(Path("data/raw/validation"))
    else:
        thresholds = dict.fromkeys(predictor.choices, threshold)
    scores = score(predictor, Path("data/raw/test"), thresholds, params)
    writer = ResultWriter(arguments.results, ("member", "dataset", *SCORES))
    for (chosen, dataset), values in scores.items():
        writer.add(member="+".join(map(str, chosen)), dataset=dataset, **{name: values[name] for name in SCORES})


if __name__ == "__main__":
    main()
