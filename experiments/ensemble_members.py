"""Score each member of an ensemble alone: python -m experiments.ensemble_members [--results members.csv].

Reads the output of stages train and download: data/model/model.h5, data/raw/validation and data/raw/test. Each member
gets a threshold of its own from the validation images, unless `evaluate.threshold` is a number. Scores are pooled over
the FOV of all test images; clDice is a mean over images.
"""

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np

from experiments import short_training
from experiments.result_writer import ResultWriter
from src.evaluation import evaluator
from src.inference import predict_dataset
from src.metrics import probability_metrics
from src.models import model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Params, load_params

SCORES = ("f1", "auc_roc", "auc_pr", "mcc", "cldice")


def score_member(member: tf.keras.Model, params: Params) -> dict[str, dict[str, float]]:
    """Score one member on each test set at its threshold."""
    evaluate = params.evaluate
    validation = short_training.predict_subset(member, Path("data/raw/validation"), params)
    held_out = predict_dataset.pool_histograms(validation).values()
    threshold = evaluator.choose_threshold(held_out, evaluate.threshold, evaluate.hysteresis_threshold)
    params = params.model_copy(update={"evaluate": evaluate.model_copy(update={"threshold": threshold})})
    pooled: defaultdict[str, probability_metrics.Histogram] = defaultdict(lambda: probability_metrics.EMPTY)
    cldice: defaultdict[str, list[float]] = defaultdict(list)
    for histogram, levels, sample in short_training.predict_images(member, Path("data/raw/test"), params):
        pooled[sample.dataset] += histogram
        cldice[sample.dataset].append(short_training.cldice(levels, threshold, sample, params))
    return {
        dataset: probability_metrics.scores_at(h, threshold) | {"cldice": float(np.nanmean(cldice[dataset]))}
        for dataset, h in pooled.items()
    }


def main() -> None:
    """Write a row for each member and test set."""
    parser = argparse.ArgumentParser(prog="python -m experiments.ensemble_members", description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("members.csv"), help="CSV to write (default: members.csv)")
    arguments = parser.parse_args()
    params = load_params()
    tensorflow_setup.configure(params.train.cpu_threads)
    network = model_io.load(Path("data/model/model.h5"))
    members = [layer for layer in network.layers if layer.name.startswith("member_")] or [network]
    writer = ResultWriter(arguments.results, ("member", "dataset", *SCORES))
    for number, member in enumerate(members, 1):
        for dataset, scores in score_member(member, params).items():
            writer.add(member=number, dataset=dataset, **{name: scores[name] for name in SCORES})


if __name__ == "__main__":
    main()
