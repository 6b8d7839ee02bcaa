"""Print the scores of each member of an ensemble alone, and their mean and range: python -m benchmarks.members.

It reads what the stages wrote: data/model/model.h5, data/raw/validation and data/raw/test. Each member gets a threshold
of its own from the validation images, unless `evaluate.threshold` is a number. Scores are pooled over the FOV of all
test images, clDice is a mean over images.
"""

from collections import defaultdict
from pathlib import Path

import numpy as np

from src import backend, mapping, metrics, models, samples, structure
from src.backend import tf
from src.params import Params, load_params
from src.predictor import Predictor, Views

SHOWN = ("f1", "auc_roc", "auc_pr", "mcc", "cldice")


def scores(member: tf.keras.Model, params: Params) -> dict[str, dict[str, float]]:
    """The scores of one member on each test set, and its threshold."""
    evaluate, size = params.evaluate, (params.preprocess.fov_diameter, params.preprocess.clahe)
    views = Views(evaluate.tile, evaluate.overlap, evaluate.flips, evaluate.batch_size, evaluate.scales)
    predictor = Predictor(models.forward(member), member.input_shape[1], views)
    threshold = evaluate.threshold
    if threshold is None:
        threshold = metrics.best_threshold(mapping.pooled(mapping.maps(Path("data/raw/validation"), predictor, *size)))
    pooled, cldice = defaultdict(lambda: metrics.EMPTY), defaultdict(list)
    for sample, found in mapping.maps(Path("data/raw/test"), predictor, *size):
        levels, truth, fov = samples.to_levels(found.probability), samples.truth(sample), samples.fov(sample)
        pooled[sample.dataset] += metrics.histogram(levels, truth, fov)
        drawn = levels >= metrics.first_level(threshold)
        described = (structure.describe(drawing, fov, evaluate.widths) for drawing in (truth, drawn))
        cldice[sample.dataset].append(structure.cldice(*described))
    return {
        dataset: metrics.scores_at(h, threshold) | {"cldice": float(np.nanmean(cldice[dataset]))}
        for dataset, h in pooled.items()
    }


def main() -> None:
    """Score the members one after another."""
    params = load_params()
    backend.configure(params.train.threads)
    network = models.load(Path("data/model/model.h5"))
    members = [layer for layer in network.layers if layer.name.startswith("member_")] or [network]
    found = defaultdict(list)
    for member in members:
        for dataset, mine in scores(member, params).items():
            print(f"{member.name}, {dataset}:", *(f"{name} {mine[name]:.4f}" for name in SHOWN))
            for name in SHOWN:
                found[dataset, name].append(mine[name])
    for (dataset, name), values in found.items():
        print(f"{dataset}, {name}: mean {np.mean(values):.4f}, from {min(values):.4f} to {max(values):.4f}")


if __name__ == "__main__":
    main()
