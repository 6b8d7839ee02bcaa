"""Print seconds and peak memory of scoring 20 drawn photographs of DRIVE's size in all scores, network apart."""

import resource
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from src import evaluation, losses, phantom, samples
from src.params import load_params

IMAGES, HEIGHT, WIDTH = 20, 584, 565
FILTERS = ("frangi", "sato", "matched_filter")


def drawn(root: Path, number: int) -> tuple[samples.Sample, np.ndarray]:
    """A phantom with a second observer, and a map that is nearly right, (H, W) uint16."""
    eye = phantom.draw(1, number, HEIGHT, WIDTH)
    rng = np.random.default_rng(number)
    noisy = cv2.GaussianBlur(eye.truth + rng.normal(0, 0.5, eye.truth.shape), (0, 0), 1)
    probability = np.where(eye.fov, np.clip(noisy, 0, 1), 0)
    id_ = f"{number:02d}"
    samples.write_eye(root, "phantom", samples.Eye(id_, id_, eye.image, eye.truth, eye.fov, probability > 0.6))
    return samples.Sample("phantom", id_, id_, root / "phantom"), samples.to_levels(probability)


def main() -> None:
    """Score the model at two thresholds, a second observer and three filters' maps, and write all tables."""
    params = load_params()
    plan = params.evaluate.widths, params.evaluate.draws, params.evaluate.seed
    rules = evaluation.Rules(0.4, losses.get(**params.loss.model_dump()), *plan)
    with tempfile.TemporaryDirectory() as folder:
        eyes = [drawn(Path(folder), number) for number in range(IMAGES)]
        begin, scored = time.perf_counter(), evaluation.Evaluation(rules)
        for sample, levels in eyes:
            scored.add(sample, levels, dict.fromkeys(FILTERS, evaluation.ProbabilityMap(levels, 0.3)))
        images = time.perf_counter() - begin
        scored.write(Path(folder))
        whole = time.perf_counter() - begin
    print(f"scores of {IMAGES} images: {images:.1f} s; intervals, differences and tables: {whole - images:.1f} s")
    print(f"peak memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
