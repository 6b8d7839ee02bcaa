"""Draw the figures of the documentation from the reported results: python -m experiments.figures [DIR].

DIR (default: docs/images) gets ablation_synthetic.png and label_efficiency.png, from experiments/results, and
accuracy_vs_time.png, from the training logs in metrics/experiments.
"""

import argparse
import textwrap
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure

from experiments import ablation_synthetic, label_efficiency, results_tables
from experiments.result_writer import RESULTS
from experiments.results_tables import KEPT
from src.common.palette import BLUE, GREY, ORANGE, VERMILION
from src.reporting import figure_style

FIGURES = Path("docs/images")
DPI = 150
WIDTH = 5.2  # inches: text of 10 points stays legible on a phone
LABEL_WIDTH = 22  # characters of a line
TRAINING_COLOURS = {
    label_efficiency.REAL_ONLY: VERMILION,
    label_efficiency.MIXED: ORANGE,
    label_efficiency.PRETRAINED: BLUE,
}
CURVES = {"drive_16": BLUE, "drive_16_efficientnet": VERMILION}


@figure_style.figure_style
def ablation(table: pd.DataFrame) -> Figure:
    """Draw a bar for each part of the generator of synthetic images: change of F1 on real images without it."""
    parts = table[table["removed"] != ablation_synthetic.NOTHING]
    figure = Figure(figsize=(WIDTH, 0.42 * len(parts) + 0.8), layout="constrained")
    axes = figure.subplots()
    means = parts["f1_difference"]
    errors = [means - parts["f1_difference_low"], parts["f1_difference_high"] - means]
    colours = [GREY if part == ablation_synthetic.OTHER_SEED else BLUE for part in parts["removed"]]
    axes.barh(range(len(parts)), means, xerr=errors, color=colours, capsize=3)
    axes.set_yticks(range(len(parts)), [textwrap.fill(part, LABEL_WIDTH) for part in parts["removed"]])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("change of mean F1 without\nthis part, 95 % interval")
    return figure


@figure_style.figure_style
def label_efficiency_curves(table: pd.DataFrame, second_observer: float) -> Figure:
    """Draw mean F1 against the number of annotated images for each way of training, with intervals where kept."""
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    trained = table[table["n_training_images"] > 0]
    for name, colour in TRAINING_COLOURS.items():
        rows = trained[trained["training"] == name]
        sizes, means = rows["n_training_images"], rows["mean_f1"]
        errors = [means - rows["mean_f1_low"], rows["mean_f1_high"] - means]
        known = errors if rows["mean_f1_low"].notna().all() else None
        axes.errorbar(sizes, means, known, color=colour, marker="o", capsize=3, label=name)
    synthetic = table.loc[table["n_training_images"] == 0, "mean_f1"].iloc[0]
    axes.axhline(synthetic, color=BLUE, linestyle=":", label="synthetic images only")
    axes.axhline(second_observer, color=GREY, linestyle="--", label=results_tables.SECOND_OBSERVER)
    ticks = sorted(trained["n_training_images"].unique())
    axes.set_xscale("log")
    axes.set_xticks(ticks, [str(size) for size in ticks])
    axes.minorticks_off()
    axes.set(xlabel="annotated images in training", ylabel="mean F1 in the FOV, threshold 0.5")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


@figure_style.figure_style
def accuracy_vs_time(curves: dict[str, pd.DataFrame]) -> Figure:
    """Draw validation F1 against training time, a point an epoch; each curve follows its own learning rate schedule."""
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    experiments = results_tables.load_experiments()
    for name, table in curves.items():
        label = experiments[name].title.partition(",")[0]
        axes.plot(table["minutes"], table["f1"], color=CURVES[name], marker=".", label=label)
    axes.set(xlabel="training time in minutes (2 CPU cores)", ylabel="F1, validation patches")
    axes.set_ylim(max(0.0, axes.get_ylim()[0]), None)
    axes.legend(loc="lower right")
    return figure


def training_curve(name: str) -> pd.DataFrame:
    """Read training time in minutes and validation F1 (at probability .5, of patches) by epoch.

    Raises:
        ValueError: no image was held out, or several networks were trained.
    """
    history = pd.read_csv(KEPT / name / "training.csv")
    params = yaml.safe_load((KEPT / name / "params.yaml").read_text(encoding="utf-8"))
    if history["validation_f1"].isna().any() or params["train"]["ensemble_size"] > 1:
        raise ValueError(f"{name}: expected an experiment of one network with validation images")
    minutes = results_tables.read_cost(KEPT / name)["training_minutes"]
    spent = history["epoch"] / history["epoch"].max() * minutes
    return pd.DataFrame({"minutes": spent, "f1": history["validation_f1"]})


def second_observer_f1(name: str, dataset: str) -> float:
    """Read the second observer's mean F1 in the FOV from the summary of a reported experiment."""
    summary = pd.read_csv(KEPT / name / results_tables.SUMMARY)
    place = {"dataset": dataset, "observer": "second_observer", "region": "fov", "score": "f1"}
    return float(summary.loc[(summary[list(place)] == pd.Series(place)).all(axis=1), "mean"].item())


def main() -> None:
    """Draw all figures."""
    parser = argparse.ArgumentParser(prog="python -m experiments.figures", description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FIGURES, metavar="DIR")
    folder = parser.parse_args().folder
    efficiency = pd.read_csv(RESULTS / "label_efficiency.csv")
    figures = {
        "ablation_synthetic": ablation(pd.read_csv(RESULTS / "ablation_synthetic.csv")),
        "label_efficiency": label_efficiency_curves(efficiency, second_observer_f1("drive_16", "drive")),
        "accuracy_vs_time": accuracy_vs_time({name: training_curve(name) for name in CURVES}),
    }
    for name, figure in figures.items():
        figure_style.save(figure, folder / f"{name}.png", DPI)


if __name__ == "__main__":
    main()
