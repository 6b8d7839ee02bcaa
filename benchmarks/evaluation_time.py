"""Measure time and memory of evaluation without the network: python -m benchmarks.evaluation_time [--images N].

Synthetic images of DRIVE's size are scored in all scores, for the model, a second observer and three filters.
"""

import argparse
import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from src.common import probability_levels
from src.data import samples
from src.evaluation import evaluator
from src.evaluation.scoring import ProbabilityMap
from src.models import losses
from src.params import load_params
from src.synthetic import generator

HEIGHT, WIDTH = 584, 565
FILTERS = ("frangi", "sato", "matched_filter")


def write_predicted(root: Path, number: int) -> tuple[samples.Sample, np.ndarray]:
    """Write a synthetic image with a second observer; return it with a probability map (H, W) uint16, nearly right."""
    generated = generator.generate(1, number, HEIGHT, WIDTH)
    rng = np.random.default_rng(number)
    noisy = cv2.GaussianBlur(generated.truth + rng.normal(0, 0.5, generated.truth.shape), (0, 0), 1)
    probability = np.where(generated.fov, np.clip(noisy, 0, 1), 0)
    id_ = f"{number:02d}"
    labelled = samples.LabelledImage(id_, id_, generated.image, generated.truth, generated.fov, probability > 0.6)
    samples.write_labelled_image(root, "phantom", labelled)
    return samples.Sample("phantom", id_, id_, root / "phantom"), probability_levels.to_levels(probability)


def main() -> None:
    """Score the model at two thresholds, a second observer and three filters, and write all tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation_time", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=20, help="how many to score (default: 20)")
    number, params = parser.parse_args().images, load_params()
    section = params.evaluate
    rules = evaluator.ScoringRules(
        threshold=0.4,
        loss=losses.get(**params.loss.model_dump()),
        width_limits=section.width_limits,
        bootstrap_resamples=section.bootstrap_resamples,
        seed=section.seed,
    )
    with tempfile.TemporaryDirectory() as folder:
        predicted = [write_predicted(Path(folder), index) for index in range(number)]
        begin, scored = time.perf_counter(), evaluator.Evaluator(rules)
        for sample, levels in predicted:
            scored.add(sample, levels, dict.fromkeys(FILTERS, ProbabilityMap(levels, 0.3)))
        images = time.perf_counter() - begin
        scored.write(Path(folder))
        tables = time.perf_counter() - begin - images
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print("| step | seconds |\n| --- | --- |")
    print(f"| scores of {number} images | {images:.1f} |\n| intervals, differences and tables | {tables:.1f} |")
    print(f"peak memory of the process: {memory:.0f} MB")


if __name__ == "__main__":
    main()
