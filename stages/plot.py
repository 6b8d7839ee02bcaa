"""Draw the figures of a run, and its best, median and worst test images."""

from pathlib import Path

import pandas as pd

from src.common.operating_point import read_threshold
from src.data import samples
from src.evaluation import result_tables
from src.metrics import metric_definitions
from src.params import Plot
from src.reporting import (
    calibration_figures,
    curve_figures,
    example_figures,
    figure_style,
    overlays,
    score_figures,
)
from src.stage_runner import run_stage


def main(test: Path, predictions: Path, metrics: Path, examples: Path, figures: Path, plot: Plot) -> None:
    """Draw figures of the tables in `metrics` to the folder `figures`, and test images to the folder `examples`."""
    threshold = read_threshold(metrics / "validation.json")
    summary = result_tables.read_summary(metrics / "summary.csv")
    per_image = result_tables.read_per_image(metrics / "per_image.csv", summary, ["f1"])
    history = result_tables.read(metrics / "training.csv", metric_definitions.HISTORY_COLUMNS)
    found = samples.find_by_id(test, zip(per_image["dataset"], per_image["id"], strict=True))
    datasets = result_tables.test_sets(summary)
    scores = {dataset: result_tables.pooled_scores(summary, dataset) for dataset in datasets}
    curves, bins, classes = (
        _by_dataset(metrics / f"{name}.csv", summary) for name in ("curves", "reliability", "uncertainty")
    )
    drawn = {
        "learning_curves": curve_figures.learning_curves(history),
        "roc": curve_figures.roc(curves, scores, threshold),
        "precision_recall": curve_figures.precision_recall(curves, scores, threshold),
        "confusion_matrix": score_figures.confusion_matrix(per_image, threshold),
        "reliability": calibration_figures.reliability(bins, scores),
        "error_by_uncertainty": calibration_figures.error_by_uncertainty(classes),
        "score_intervals": score_figures.score_intervals(summary),
        "f1_per_image": score_figures.f1_per_image(per_image),
    }
    for name, figure in drawn.items():
        figure_style.save(figure, figures / f"{name}.png", plot.dpi)

    examples.mkdir(parents=True, exist_ok=True)  # also where no image has an F1
    for dataset in sorted(datasets):
        for rank, id_ in example_figures.best_median_worst(per_image, dataset).items():
            example = overlays.read(found[dataset, id_], predictions, threshold)
            title = example_figures.example_title(per_image, dataset, rank, id_)
            figure = example_figures.example_figure(example, plot.detail_size, title)
            figure_style.save(figure, examples / f"{dataset}_{rank}.png", plot.dpi)


def _by_dataset(path: Path, summary: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Read a table and split it by test set."""
    return {str(name): rows for name, rows in result_tables.read_by_dataset(path, summary).groupby("dataset")}


if __name__ == "__main__":
    run_stage(main, lambda params: {"plot": params.plot})
