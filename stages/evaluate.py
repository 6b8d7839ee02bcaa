"""Predict the test photographs and score the maps."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src import backend, losses, metrics, models, predict, preprocess, samples
from src.cli import run
from src.evaluation import Evaluation, ProbabilityMap, Rules
from src.params import Evaluate, Loss, Preprocess

Maps = Iterator[tuple[samples.Sample, np.ndarray]]


def main(
    model_file: Path,
    validation: Path,
    test: Path,
    filtered: Path,
    predictions: Path,
    out: Path,
    evaluate: Evaluate,
    loss: Loss,
    preparation: Preprocess,
    threads: int,
) -> None:
    """Choose the threshold on validation; write maps of the test photographs, and scores of all there is of them."""
    backend.configure(threads)
    views = evaluate.tile, evaluate.overlap, evaluate.flips, evaluate.batch_size
    predictor = predict.Predictor(models.load(model_file), *views)
    threshold = evaluate.threshold
    if threshold is None:
        threshold = choose_threshold(maps(validation, predictor, preparation))
    of_filters = json.loads((filtered / "thresholds.json").read_text(encoding="utf-8"))
    rules = Rules(threshold, losses.get(**loss.model_dump()), evaluate.widths, evaluate.draws, evaluate.seed)
    evaluation = Evaluation(rules)
    for sample, probability in maps(test, predictor, preparation):
        file = Path(sample.dataset) / f"{sample.id}.png"
        samples.write_probability(predictions / file, probability)
        answers = {
            name: ProbabilityMap(samples.read_levels(filtered / name / file), limit)
            for name, limit in of_filters.items()
        }
        evaluation.add(sample, samples.read_levels(predictions / file), answers)
    evaluation.write(out)


def choose_threshold(found: Maps) -> float:
    """The threshold of best F1 over all pixels in the FOV of all images."""
    total = metrics.EMPTY
    for sample, probability in found:
        levels = samples.to_levels(probability)
        total += metrics.histogram(levels, samples.truth(sample), samples.fov(sample))
    return metrics.best_threshold(total)


def maps(root: Path, predictor: predict.Predictor, preparation: Preprocess) -> Maps:
    """Each sample below `root` with its probability map at native resolution, 0 outside the FOV."""
    for sample in tqdm(samples.find(root), desc=f"predict {root.name}", unit="image"):
        fov = samples.fov(sample)
        prepared = preprocess.prepare(samples.image(sample), fov, preparation.fov_diameter, preparation.clahe)
        probability = preprocess.to_native(predictor.probability(prepared.image), fov.shape)
        yield sample, np.where(fov, probability, 0.0)


if __name__ == "__main__":
    run(
        lambda params: main(
            *map(Path, sys.argv[1:7]), params.evaluate, params.loss, params.preprocess, params.train.threads
        )
    )
