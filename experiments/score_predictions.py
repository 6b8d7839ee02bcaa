"""Score the command `predict` on annotated images: python -m experiments.score_predictions DATASET.

DATASET is the name of a public data set, whose official test images are taken (archives as for the pipeline), or a
folder of your own with images, truth and optional fov, as for `data.folder`. The images are predicted by `python -m src
predict` with a packaged network, in fields of view that it detects. Its maps are scored in the FOV of the data set,
pooled over images, at the threshold of the network. `best_threshold` is that of the highest F1 on these images: a value
for `--threshold` on other images of the same camera, but not with hysteresis, which these maps have at the threshold of
the network alone. A second table tells how errors follow the uncertainty.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.result_writer import ResultWriter
from src.data import entries, samples
from src.data.datasets import PUBLIC
from src.data.entries import Entry
from src.data.splits import Uses
from src.inference.onnx_model import DEFAULT_MODEL, OnnxModel
from src.metrics import probability_metrics
from src.metrics.error_by_uncertainty import UncertaintyHistogram
from src.params import load_params


def find_images(dataset: str) -> Sequence[Entry]:
    """Find the test images of a public data set, or all images of a folder.

    Raises:
        FileNotFoundError, ValueError: there are none, or annotations are missing.
    """
    data, uses = load_params().data, Uses(train=False, test=True)
    if dataset in PUBLIC:
        return entries.public_entries(dataset, data.splits.model_dump()[dataset], uses, Path.cwd()).test
    if not Path(dataset).is_dir():
        raise FileNotFoundError(f"{dataset}: expected a folder, or one of {', '.join(PUBLIC)}")
    return entries.custom_entries("folder", Path(dataset), uses, data.folder.test_fraction, data.seed).test


def main() -> None:
    """Predict the images and write both tables."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.score_predictions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", metavar="DATASET", help=f"a folder, or one of {', '.join(PUBLIC)}")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="a packaged network")
    parser.add_argument("--results", type=Path, default=Path("predictions"), help="folder of the CSV files")
    arguments = parser.parse_args()
    dataset, model = arguments.dataset, arguments.model
    try:
        test = find_images(dataset)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    levels, uncertainty = probability_metrics.EMPTY, UncertaintyHistogram()
    with tempfile.TemporaryDirectory() as place:
        images, out = Path(place) / "images", Path(place) / "out"
        labelled = [entry.load() for entry in test]
        names = [f"{number:04}_{one.id[:40]}" for number, one in enumerate(labelled)]  # ids may differ by case alone
        for name, one in zip(names, labelled, strict=True):
            samples.write_image(images / f"{name}.png", one.image)
        begin = time.perf_counter()
        command = [sys.executable, "-m", "src", "predict", str(images), "--out", str(out), "--model", str(model)]
        if subprocess.run(command, check=False).returncode:
            parser.error("expected maps of all images, see the messages above")
        seconds = (time.perf_counter() - begin) / len(labelled)
        for name, one in zip(names, labelled, strict=True):
            probability = samples.read_levels(out / f"{name}_probability.png")
            levels += probability_metrics.histogram(probability, one.truth, one.fov)
            wrong = samples.read_bool(out / f"{name}_vessels.png") != one.truth
            file = out / f"{name}_uncertainty.png"  # missing without test-time augmentation
            spread = samples.read_levels(file) / np.iinfo(np.uint16).max if file.exists() else None
            uncertainty.add(dataset, spread, wrong, one.fov)
    scores = probability_metrics.scores_at(levels, OnnxModel(model).settings.threshold)
    best = probability_metrics.best_threshold(levels)
    values = {
        **{"dataset": dataset, "n_images": len(labelled), "seconds_per_image": seconds, **scores},
        **{"best_threshold": best, "best_f1": probability_metrics.scores_at(levels, best)["f1"]},
    }
    ResultWriter(arguments.results / "scores.csv", tuple(values)).add(**values)
    rows = uncertainty.rows()
    writer = ResultWriter(arguments.results / "uncertainty.csv", tuple(rows[0]))
    for row in rows:
        writer.add(**row)


if __name__ == "__main__":
    main()
