"""Figures that tell how far the output of the model can be trusted: reliability diagram, error rate by uncertainty.

Input are the tables of a run in `metrics/`; scores are of the field of view (FOV), all pixels pooled.
"""

from collections.abc import Mapping
from itertools import cycle

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from src.common.markdown import number
from src.common.palette import BLUE, SKY
from src.reporting.curve_figures import ObserverScores, draw_diagonal
from src.reporting.figure_style import LINE_COLOURS, figure_style, square_panels


@figure_style
def reliability(bins: Mapping[str, pd.DataFrame], scores: Mapping[str, ObserverScores]) -> Figure:
    """Reliability diagram of the model on each test set, and below it the number of pixels of each bin.

    Args:
        bins: by test set, a table with the columns of `reliability.csv`; bins without a pixel have no point.
        scores: by test set and observer, pooled over the FOV: `calibration_error` and `brier` of the model.
    """
    figure, panels = square_panels(len(bins))
    for axes, (dataset, table) in zip(panels, bins.items(), strict=True):
        model = scores[dataset]["model"]
        label = f"model, ECE {number(model['calibration_error'], 3)}, Brier {number(model['brier'], 3)}"
        draw_diagonal(axes, "perfect calibration")
        axes.plot(
            table["mean_probability"], table["vessel_fraction"], color=BLUE, lw=1.8, marker="o", ms=5, label=label,
            clip_on=False,
        )  # fmt: skip
        axes.set(title=dataset, ylabel="fraction of vessel pixels")
        axes.tick_params(labelbottom=False)
        axes.legend(loc="upper left")
        _draw_pixel_counts(axes.inset_axes((0, -0.24, 1, 0.2), sharex=axes), table)
    figure.suptitle("Reliability in the field of view, all pixels pooled")
    return figure


@figure_style
def error_by_uncertainty(classes: Mapping[str, pd.DataFrame]) -> Figure:
    """Error rate by class of uncertainty, a line per test set; empty without test-time augmentation.

    Args:
        classes: by test set, a table with the columns of `uncertainty.csv`; classes without a pixel have no point.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    for colour, (dataset, table) in zip(cycle(LINE_COLOURS), classes.items(), strict=False):
        axes.plot(range(len(table)), table["error_rate"], color=colour, marker="o", ms=5, label=dataset)
        axes.set_xticks(range(len(table)), [f"{end:g}" for end in table["uncertainty_up_to"]])
    axes.set(xlabel="uncertainty, upper end of the class", ylabel="error rate, (FP + FN) / pixels", ylim=(0, None))
    if any(table["pixels"].any() for table in classes.values()):
        axes.legend(loc="upper left")
    else:
        text = "predicted without test-time augmentation: uncertainty unknown"
        axes.text(0.5, 0.5, text, ha="center", transform=axes.transAxes)
    figure.suptitle("Error rate by uncertainty in the field of view, all pixels pooled")
    return figure


def _draw_pixel_counts(axes: Axes, table: pd.DataFrame) -> None:
    """Draw bars of the number of pixels of each bin, on a logarithmic axis."""
    width = 1 / len(table)
    axes.set(yscale="log", ylim=(0.5, max(10, 2 * table["pixels"].max())), xlabel="probability", ylabel="pixels")
    axes.bar(table["probability_up_to"] - width / 2, table["pixels"], width=0.9 * width, color=SKY)
