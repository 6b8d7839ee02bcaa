"""Figures of curves: learning curves, receiver operating characteristic (ROC), precision-recall.

Input are the tables of a run in `metrics/`; scores are of the field of view (FOV).
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from src.common.markdown import number
from src.common.palette import BLUE, GREY, VERMILION
from src.metrics import metric_definitions
from src.reporting.figure_style import OBSERVER_MARKS, figure_style, marker_style, square_panels

MAX_EPOCHS_WITH_MARKERS = 40
F1_LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9)  # of the grey lines of equal F1
LIGHT_GREY = "#BFBFBF"
ObserverScores = Mapping[str, Mapping[str, float]]  # observer -> score -> value, NaN where undefined


class CurveDefinition(NamedTuple):
    """Columns and labels of a curve's axes, the area under it, its background and the legend of a point."""

    x: str
    y: str
    x_label: str
    y_label: str
    area: str
    legend_location: Literal["lower left", "lower right"]
    to_corners: bool  # whether the curve continues to (1, 1) and (0, 0)
    draw_background: Callable[[Axes], None]
    point_text: Callable[[Mapping[str, float]], str]


@figure_style
def learning_curves(history: pd.DataFrame) -> Figure:
    """Eight panels, one per score: training and validation (if any) by epoch, from the table `training.csv`."""
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    marker = "." if len(history) <= MAX_EPOCHS_WITH_MARKERS else ""
    for axes, (score, title) in zip(figure.subplots(2, 4).flat, metric_definitions.HISTORY.items(), strict=True):
        axes.plot(history["epoch"], history[score], color=BLUE, marker=marker, label="training")
        validation = history[f"validation_{score}"]
        if validation.notna().any():
            axes.plot(history["epoch"], validation, color=VERMILION, marker=marker, ls="--", label="validation")
        axes.set(title=title, xlabel="epoch", xlim=(0.5, history["epoch"].max() + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    figure.suptitle("Learning curves: patches, field of view, all pixels of an epoch pooled, threshold 0.5")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@figure_style
def roc(curves: Mapping[str, pd.DataFrame], scores: Mapping[str, ObserverScores], threshold: float) -> Figure:
    """ROC of the model on each test set, with the operating point of every observer.

    Args:
        curves: by test set, a table with the columns `false_positive_rate` and `recall`.
        scores: by test set and observer, pooled over the FOV: `auc_roc` of the model, `false_positive_rate`, `recall`.
        threshold: of the model.
    """
    figure = _curve_figure(ROC, curves, scores, threshold)
    figure.suptitle("ROC in the field of view, all pixels pooled")
    return figure


@figure_style
def precision_recall(
    curves: Mapping[str, pd.DataFrame], scores: Mapping[str, ObserverScores], threshold: float
) -> Figure:
    """Precision-recall curve of the model on each test set, operating points of all observers, lines of equal F1.

    Args:
        curves: by test set, a table with the columns `recall` and `precision`.
        scores: by test set and observer, pooled over the FOV: `auc_pr` of the model, `recall`, `precision`, `f1`.
        threshold: of the model.
    """
    figure = _curve_figure(PRECISION_RECALL, curves, scores, threshold)
    figure.suptitle("Precision and recall in the field of view,\nall pixels pooled; grey lines: equal F1")
    return figure


def draw_diagonal(axes: Axes, label: str | None = None) -> None:
    """Draw the line of equal values: chance in a ROC, perfect calibration in a reliability diagram."""
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label=label)


def _curve_figure(
    definition: CurveDefinition,
    curves: Mapping[str, pd.DataFrame],
    scores: Mapping[str, ObserverScores],
    threshold: float,
) -> Figure:
    """Draw a square panel per test set: the model's curve, and the points of all observers that have both scores."""
    figure, panels = square_panels(len(curves))
    for axes, (dataset, curve) in zip(panels, curves.items(), strict=True):
        definition.draw_background(axes)
        x, y = (list(curve[column]) for column in (definition.x, definition.y))
        if definition.to_corners:
            x, y = [1, *x, 0], [1, *y, 0]
        area = number(scores[dataset]["model"][definition.area], 3)
        axes.plot(x, y, color=BLUE, lw=1.8, label=f"model, AUC {area}", clip_on=False)
        for observer, name, point in _operating_points(scores[dataset], threshold):
            if not np.isnan([point[definition.x], point[definition.y]]).any():
                label = f"{name} ({definition.point_text(point)})"
                axes.plot(point[definition.x], point[definition.y], label=label, **marker_style(observer, 8))
        axes.set(title=dataset, xlabel=definition.x_label, ylabel=definition.y_label)
        axes.legend(loc=definition.legend_location)
    return figure


def _operating_points(scores: ObserverScores, threshold: float) -> Iterator[tuple[str, str, Mapping[str, float]]]:
    """Yield each observer with its name in the legend and its scores; the model first."""
    for observer in OBSERVER_MARKS:
        if observer == "model":
            yield observer, f"threshold {threshold:.3f}", scores[observer]
        elif observer in scores:
            yield observer, metric_definitions.OBSERVERS[observer], scores[observer]


def _draw_f1_lines(axes: Axes) -> None:
    """Draw grey lines of equal F1: precision = F1 recall / (2 recall - F1)."""
    for f1 in F1_LEVELS:
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color=LIGHT_GREY, lw=0.8, zorder=1)
        axes.annotate(f"{f1:.1f}", (1, f1 / (2 - f1)), (3, 0), textcoords="offset points", va="center", color=GREY,
                      fontsize=8, annotation_clip=False)  # fmt: skip
    axes.grid(False)


ROC = CurveDefinition(
    x="false_positive_rate",
    y="recall",
    x_label="false positive rate (1 - specificity)",
    y_label="recall (sensitivity)",
    area="auc_roc",
    legend_location="lower right",
    to_corners=True,
    draw_background=draw_diagonal,
    point_text=lambda point: f"FPR {number(point['false_positive_rate'], 3)}, recall {number(point['recall'], 3)}",
)
PRECISION_RECALL = CurveDefinition(
    x="recall",
    y="precision",
    x_label="recall (sensitivity)",
    y_label="precision",
    area="auc_pr",
    legend_location="lower left",
    to_corners=False,
    draw_background=_draw_f1_lines,
    point_text=lambda point: f"F1 {number(point['f1'], 3)}",
)
