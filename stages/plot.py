"""Draw the charts of a run, and its best, median and worst test images."""

import sys
from pathlib import Path

from src import panels, pictures, plots, reported, samples, tables
from src.cli import run
from src.params import Plot


def main(test: Path, predictions: Path, metrics: Path, examples: Path, figures: Path, plot: Plot) -> None:
    """Charts of the tables in `metrics` go to `figures`; pictures of the test images go to `examples`."""
    scores = tables.read_scores(metrics / "scores.json", (*tables.POINT, *tables.AREAS))
    per_image = tables.read_per_image(metrics / "per_image.csv", scores, ["f1"])
    found = samples.named(test, zip(per_image["dataset"], per_image["id"], strict=True))
    names = "curves", "reliability", "doubt"
    curves, bins, classes = (
        dict(list(tables.read_of_sets(metrics / f"{name}.csv", scores).groupby("dataset"))) for name in names
    )
    charts = {
        "learning_curves": plots.learning_curves(tables.read(metrics / "training.csv", reported.HISTORY_COLUMNS)),
        "roc": plots.roc(curves, scores),
        "precision_recall": plots.precision_recall(curves, scores),
        "confusion": plots.confusion(per_image, scores["threshold"]),
        "reliability": plots.reliability(bins, scores),
        "doubt": plots.doubt(classes),
        "intervals": plots.intervals(tables.read_summary(metrics / "summary.csv", scores)),
        "per_image": plots.per_image_f1(per_image),
    }
    for name, figure in charts.items():
        plots.save(figure, figures / f"{name}.png", plot.dpi)

    examples.mkdir(parents=True, exist_ok=True)  # also where no image has an F1
    for dataset in sorted(tables.test_sets(scores)):
        for rank, id_ in panels.best_median_worst(per_image, dataset).items():
            picture = pictures.read(found[dataset, id_], predictions, scores["threshold"])
            figure = panels.example(picture, plot.zoom, panels.example_title(per_image, dataset, rank, id_))
            plots.save(figure, examples / f"{dataset}_{rank}.png", plot.dpi)


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:6]), params.plot))
