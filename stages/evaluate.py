"""Predict the test photographs and score the maps."""

import sys
from pathlib import Path

from src import backend, evaluation, files, losses, mapping, metrics, models, samples
from src.cli import run
from src.params import Evaluate, Loss, Preprocess
from src.predictor import Predictor, Views


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
    """Score and choose the threshold on validation; write maps of the test photographs and scores of all observers."""
    files.refuse_lack_of_space(predictions, samples.map_bytes(samples.find(test)))
    of_filters = evaluation.read_thresholds(filtered / "thresholds.json")
    backend.configure(threads)
    model = models.load(model_file)
    views = Views(evaluate.tile, evaluate.overlap, evaluate.flips, evaluate.batch_size, evaluate.scales)
    predictor = Predictor(models.forward(model), model.input_shape[1], views)
    size = preparation.fov_diameter, preparation.clahe
    held_out = mapping.pooled(mapping.maps(validation, predictor, *size))
    threshold = metrics.best_threshold(held_out) if evaluate.threshold is None else evaluate.threshold
    evaluation.write_validation(out, metrics.scores_at(held_out, threshold), threshold)
    rules = evaluation.Rules(threshold, losses.get(**loss.model_dump()), evaluate.widths, evaluate.draws, evaluate.seed)
    scoring = evaluation.Evaluation(rules)
    for sample, maps in mapping.maps(test, predictor, *size):
        file = Path(sample.dataset) / f"{sample.id}.png"
        samples.write_probability(predictions / file, maps.probability)
        answers = {
            name: evaluation.ProbabilityMap(samples.read_levels(filtered / name / file), limit)
            for name, limit in of_filters.items()
        }
        scoring.add(sample, samples.read_levels(predictions / file), answers, maps.doubt)
    scoring.write(out)


if __name__ == "__main__":
    run(
        lambda params: main(
            *map(Path, sys.argv[1:7]), params.evaluate, params.loss, params.preprocess, params.train.threads
        )
    )
