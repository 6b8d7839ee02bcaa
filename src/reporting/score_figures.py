"""Figures of scores: means with 95 % intervals, F1 of each image, confusion matrix.

Input are the tables of a run in `metrics/`; scores are of the field of view (FOV).
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from src.common.markdown import number
from src.common.palette import BLUE, SKY, VERMILION
from src.evaluation.result_tables import rows_in_fov
from src.metrics import metric_definitions
from src.reporting.figure_style import OBSERVER_MARKS, figure_style, marker_style, square_panels

INTERVAL_SCORES = ("f1", "cldice", "mcc", "auc_roc", "auc_pr", "recall_thin", "recall_medium", "recall_thick")
BAND_COLOUR = "#F5F5F5"
FEW_IMAGES = 8  # fewer bars than these are not drawn wider
MAX_LABELLED_IMAGES = 60  # more bars have no room for text
MAX_ID_LENGTH = 20  # characters


@figure_style
def score_intervals(summary: pd.DataFrame) -> Figure:
    """Mean over images of each observer's scores with its 95 % interval, from the table `summary.csv`.

    An undefined score has no dot; a mean over too few patients has no whiskers.
    """
    shown = summary["observer"].isin(OBSERVER_MARKS) & summary["score"].isin(INTERVAL_SCORES)
    table = summary[(summary["region"] == "fov") & shown]
    datasets = sorted(set(table["dataset"]))
    observers = [observer for observer in OBSERVER_MARKS if observer in set(table["observer"])]
    figure = Figure(figsize=(2.4 + 5.6 * len(datasets), 7.6), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False, sharex=True, sharey=True).flat
    for axes, dataset in zip(panels, datasets, strict=True):
        of_dataset = table[table["dataset"] == dataset]
        _draw_intervals(axes, of_dataset, observers)
        axes.set_title(f"{dataset}: {of_dataset['images'].max()} images, {of_dataset['groups'].max()} patients")
    names = metric_definitions.OBSERVERS
    handles = [Line2D([], [], **marker_style(observer, 6), label=names[observer]) for observer in observers]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles))
    figure.suptitle("Mean over test images with 95 % interval, field of view")
    return figure


@figure_style
def f1_per_image(per_image: pd.DataFrame) -> Figure:
    """F1 of each test image, worst first: bars of the model, diamonds of the second observer, lines at their means."""
    datasets = sorted(set(per_image["dataset"]))
    most_images = max(len(f1_by_image(per_image, dataset, "model")) for dataset in datasets)
    longest_id = min(max(map(len, per_image["id"])), MAX_ID_LENGTH)
    size = (float(np.clip(2 + 0.32 * most_images, 8, 18)), 0.4 + (3.3 + 0.06 * longest_id) * len(datasets))
    figure = Figure(figsize=size, layout="constrained")
    for axes, dataset in zip(figure.subplots(len(datasets), 1, squeeze=False).flat, datasets, strict=True):
        model = f1_by_image(per_image, dataset, "model").sort_values(kind="stable")
        _draw_f1_bars(axes, model, f1_by_image(per_image, dataset, "second_observer").reindex(model.index))
        axes.set_title(dataset)
    figure.suptitle("F1 score of each test image, field of view")
    return figure


@figure_style
def confusion_matrix(per_image: pd.DataFrame, threshold: float) -> Figure:
    """Confusion matrix of the model on each test set: pixels and fractions, all images pooled."""
    table = rows_in_fov(per_image, "model").groupby("dataset")[["tp", "fp", "fn", "tn"]].sum()
    figure, panels = square_panels(len(table))
    for axes, (dataset, row) in zip(panels, table.iterrows(), strict=True):
        _draw_matrix(axes, np.array([[row.tn, row.fp], [row.fn, row.tp]], dtype=float))
        axes.set_title(str(dataset))
    figure.suptitle(f"Confusion matrix in the field of view,\nall pixels pooled, threshold {threshold:.3f}")
    return figure


def f1_by_image(per_image: pd.DataFrame, dataset: str, observer: str) -> "pd.Series[float]":
    """Return F1 in the FOV by image id, NaN where it is undefined."""
    table = rows_in_fov(per_image, observer)
    return table[table["dataset"] == dataset].set_index("id")["f1"].astype(float)


def _draw_intervals(axes: Axes, table: pd.DataFrame, observers: Sequence[str]) -> None:
    """Draw a band per score, from the top; in it a dot with whiskers per observer."""
    offsets = np.linspace(-0.3, 0.3, len(observers)) if len(observers) > 1 else np.zeros(1)
    for band in range(0, len(INTERVAL_SCORES), 2):
        axes.axhspan(band - 0.5, band + 0.5, color=BAND_COLOUR, zorder=0)
    for observer, offset in zip(observers, offsets, strict=True):
        rows = table[table["observer"] == observer].set_index("score").reindex(list(INTERVAL_SCORES))
        positions = np.arange(len(INTERVAL_SCORES)) + offset
        colour = OBSERVER_MARKS[observer].colour
        axes.hlines(positions, rows["low"], rows["high"], color=colour, lw=1.2)
        for end in ("low", "high"):
            axes.plot(rows[end], positions, color=colour, ls="", marker="|", ms=6, mew=1.2)
        axes.plot(rows["mean"], positions, **marker_style(observer, 5) | {"mec": colour})
    axes.set(ylim=(len(INTERVAL_SCORES) - 0.5, -0.5), yticks=range(len(INTERVAL_SCORES)), xlabel="score")
    axes.set_yticklabels([metric_definitions.SCORES[name].label for name in INTERVAL_SCORES])
    axes.grid(False, axis="y")


def _draw_f1_bars(axes: Axes, model: "pd.Series[float]", observer: "pd.Series[float]") -> None:
    """Draw bars of the model's F1 by image with their values, diamonds of the second observer's, and both means."""
    positions = np.arange(len(model))
    axes.bar(positions, model, color=SKY, width=0.8 * min(1, len(model) / FEW_IMAGES))
    labelled = len(model) <= MAX_LABELLED_IMAGES
    for position, f1 in enumerate(model if labelled else []):
        axes.text(position, 0.02, number(f1, 3), rotation=90, ha="center", va="bottom", fontsize=8)
    handles = [_draw_mean(axes, model, "model", BLUE, "-")]
    if observer.notna().any():
        axes.plot(positions, observer, ls="", marker="D", ms=5, color=VERMILION, mec="white", mew=0.6, zorder=4,
                  clip_on=False)  # fmt: skip
        handles.append(_draw_mean(axes, observer, "second observer", VERMILION, "--"))
    axes.set(
        ylim=(0, 1),
        xlabel="image",
        ylabel="F1 score",
        xlim=(-0.6, len(model) - 0.4),
        xticks=positions if labelled else [],
    )
    if labelled:
        ids = [id_ if len(id_) <= MAX_ID_LENGTH else f"…{id_[1 - MAX_ID_LENGTH :]}" for id_ in model.index]
        axes.set_xticklabels(ids, rotation=90 if max(map(len, ids)) > 2 else 0, fontsize=8)
    axes.grid(False, axis="x")
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=1.5)


def _draw_mean(axes: Axes, f1: "pd.Series[float]", name: str, colour: str, style: str) -> Line2D:
    """Draw the mean over the images that have an F1, and return its entry of the legend with their number."""
    mean = float(f1.mean())
    label = f"{name}\nmean {number(mean, 3)}, n = {f1.notna().sum()}"
    entry = Line2D([], [], color=colour, ls=style, marker="s" if name == "model" else "D", ms=6, label=label)
    entry.set(markerfacecolor=SKY if name == "model" else colour, markeredgecolor="none")
    if not np.isnan(mean):
        axes.axhline(mean, color=colour, ls=style, lw=1.2, zorder=3)
    return entry


def _draw_matrix(axes: Axes, pixels: np.ndarray) -> None:
    """Draw [[TN, FP], [FN, TP]], coloured by the fraction of the row (ground truth)."""
    rows = pixels.sum(axis=1, keepdims=True)
    fractions = np.divide(pixels, rows, out=np.full((2, 2), np.nan), where=rows > 0)
    axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    names = (("true negatives", "false positives"), ("false negatives", "true positives"))
    for row, of in enumerate(("background", "vessels")):
        for column in range(2):
            count, fraction = pixels[row, column], fractions[row, column]
            of_all, of_row = (f"{number(100 * part, 1)} %" for part in (count / max(pixels.sum(), 1), fraction))
            colour = "white" if fraction > 0.5 else "black"
            axes.text(column, row - 0.16, names[row][column], ha="center", va="bottom", color=colour, weight="bold")
            text = f"{count:,.0f} pixels\n{of_all} of all\n{of_row} of {of}"
            axes.text(column, row - 0.08, text, ha="center", va="top", color=colour, linespacing=1.5)
    axes.set(
        xticks=[0, 1], yticks=[0, 1], xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel="predicted", ylabel="ground truth"
    )
    axes.set_xticklabels(["background", "vessel"])
    axes.set_yticklabels(["background", "vessel"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)
