"""Draw the charts of a run, and its best, median and worst test images."""

import json
import sys
from pathlib import Path

import pandas as pd

from src import panels, pictures, plots, samples
from src.cli import run
from src.params import Plot


def main(test: Path, predictions: Path, metrics: Path, examples: Path, figures: Path, plot: Plot) -> None:
    """Charts of the tables in `metrics` go to `figures`; pictures of the test images go to `examples`."""
    scores = json.loads((metrics / "scores.json").read_text(encoding="utf-8"))
    per_image = pd.read_csv(metrics / "per_image.csv", dtype={"id": str, "group": str})
    datasets = sorted(set(per_image["dataset"]))
    names = "curves", "reliability", "doubt"
    curves, bins, classes = (dict(list(pd.read_csv(metrics / f"{name}.csv").groupby("dataset"))) for name in names)
    charts = {
        "learning_curves": plots.learning_curves(pd.read_csv(metrics / "training.csv")),
        "roc": plots.roc(curves, scores),
        "precision_recall": plots.precision_recall(curves, scores),
        "confusion": plots.confusion(per_image, scores["threshold"]),
        "reliability": plots.reliability(bins, scores),
        "doubt": plots.doubt(classes),
        "intervals": plots.intervals(pd.read_csv(metrics / "summary.csv")),
        "per_image": plots.per_image_f1(per_image),
    }
    for name, figure in charts.items():
        plots.save(figure, figures / f"{name}.png", plot.dpi)

    examples.mkdir(parents=True, exist_ok=True)  # also where no image has an F1
    found = {(sample.dataset, sample.id): sample for sample in samples.find(test)}
    for dataset in datasets:
        for rank, id_ in panels.best_median_worst(per_image, dataset).items():
            picture = pictures.read(found[dataset, id_], predictions, scores["threshold"])
            figure = panels.example(picture, plot.zoom, panels.example_title(per_image, dataset, rank, id_))
            plots.save(figure, examples / f"{dataset}_{rank}.png", plot.dpi)


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:6]), params.plot))
