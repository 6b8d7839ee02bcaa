"""Score the command `predict` on a public test set: python -m experiments.score_predictions DATASET.

The test images of the official split (archives as for the pipeline) are predicted by `python -m src predict` with a
packaged network, in fields of view that it detects. Its maps are scored in the FOV of the data set, pooled over images;
a second table tells how errors follow the uncertainty.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments.result_writer import ResultWriter
from src.data import entries, samples
from src.data.datasets import PUBLIC
from src.data.splits import Uses
from src.inference.onnx_model import DEFAULT_MODEL, OnnxModel
from src.metrics import probability_metrics
from src.metrics.error_by_uncertainty import UncertaintyHistogram
from src.params import load_params


def main() -> None:
    """Predict the test images and write both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.score_predictions", description=__doc__.splitlines()[0]
    )
    parser.add_argument("dataset", choices=PUBLIC)
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="a packaged network")
    parser.add_argument("--results", type=Path, default=Path("predictions"), help="folder of the CSV files")
    arguments = parser.parse_args()
    dataset, model = arguments.dataset, arguments.model
    split = load_params().data.splits.model_dump()[dataset]
    test = entries.public_entries(dataset, split, Uses(train=False, test=True), Path.cwd()).test
    levels, uncertainty = probability_metrics.EMPTY, UncertaintyHistogram()
    with tempfile.TemporaryDirectory() as place:
        images, out = Path(place) / "images", Path(place) / "out"
        labelled = [entry.load() for entry in test]
        for one in labelled:
            samples.write_image(images / f"{one.id}.png", one.image)
        begin = time.perf_counter()
        command = [sys.executable, "-m", "src", "predict", str(images), "--out", str(out), "--model", str(model)]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        seconds = (time.perf_counter() - begin) / len(labelled)
        for one in labelled:
            probability = samples.read_levels(out / f"{one.id}_probability.png")
            levels += probability_metrics.histogram(probability, one.truth, one.fov)
            wrong = samples.read_bool(out / f"{one.id}_vessels.png") != one.truth
            spread = samples.read_levels(out / f"{one.id}_uncertainty.png") / np.iinfo(np.uint16).max
            uncertainty.add(dataset, spread, wrong, one.fov)
    scores = probability_metrics.scores_at(levels, OnnxModel(model).settings.threshold)
    values = {"dataset": dataset, "n_images": len(labelled), "seconds_per_image": seconds, **scores}
    ResultWriter(arguments.results / "scores.csv", tuple(values)).add(**values)
    rows = uncertainty.rows()
    writer = ResultWriter(arguments.results / "uncertainty.csv", tuple(rows[0]))
    for row in rows:
        writer.add(**row)


if __name__ == "__main__":
    main()
