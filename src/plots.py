"""The charts: one function each, from the tables of a run to a matplotlib Figure; `save` writes any figure.

Tables are those of `metrics/`; scores are taken in the field of view (FOV). Nothing touches pyplot or the user's
matplotlib settings.
"""

import io
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from src import files, reported
from src.colours import BLUE, GREY, SKY, VERMILION

MARKS = {  # shape and colour of each observer's point
    "model": ("o", BLUE),
    "second_observer": ("D", VERMILION),
    "matched_filter": ("^", "#009E73"),
    "frangi": ("s", "#CC79A7"),
    "sato": ("v", "#000000"),
}
SOLID = ("model", "second_observer")  # the filters are hollow: their points may lie on one another
INTERVALS = ("f1", "cldice", "mcc", "auc_roc", "auc_pr", "recall_thin", "recall_middle", "recall_thick")
STYLE = {
    **{key: value for key, value in mpl.rcParamsDefault.items() if key.split(".")[0] not in ("backend", "toolbar")},
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "figure.constrained_layout.h_pad": 0.08,  # inches
    "figure.constrained_layout.w_pad": 0.08,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
FEW_EPOCHS = 40  # up to here each epoch gets a dot
FEW_IMAGES = 8  # fewer bars are as slim as these
MANY_IMAGES = 60  # more bars have no room for text
LONGEST_ID = 20  # characters shown
ISO_F1 = (0.5, 0.6, 0.7, 0.8, 0.9)
styled = mpl.rc_context(STYLE)


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write the figure as a PNG without program name or date: the same figure gives the same bytes."""
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    files.write_bytes(path, content.getvalue())


@styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Eight panels, one a score, train and validation (if any) by epoch, from the table `training.csv`."""
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    marker = "." if len(history) <= FEW_EPOCHS else ""
    for axes, (score, title) in zip(figure.subplots(2, 4).flat, reported.HISTORY.items(), strict=True):
        axes.plot(history["epoch"], history[score], color=BLUE, marker=marker, label="train")
        if history[f"validation_{score}"].notna().any():
            axes.plot(
                history["epoch"], history[f"validation_{score}"], color=VERMILION, marker=marker, ls="--",
                label="validation",
            )  # fmt: skip
        axes.set(title=title, xlabel="epoch", xlim=(0.5, history["epoch"].max() + 0.5))
        axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, min_n_ticks=1))
    figure.suptitle("Learning curves")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def roc(curves: dict[str, pd.DataFrame], scores: dict) -> Figure:
    """The receiver operating characteristic of each test set, with the point of every observer.

    Args:
        curves: a table by test set with the columns `false_positive_rate` and `recall`.
        scores: the content of `scores.json`.
    """
    figure = _curves(ROC, curves, scores)
    figure.suptitle("ROC in the field of view, all pixels pooled")
    return figure


@styled
def precision_recall(curves: dict[str, pd.DataFrame], scores: dict) -> Figure:
    """Precision over recall of each test set, with the point of every observer and lines of equal F1.

    Args:
        curves: a table by test set with the columns `recall` and `precision`.
        scores: the content of `scores.json`.
    """
    figure = _curves(PRECISION_RECALL, curves, scores)
    figure.suptitle("Precision and recall in the field of view,\nall pixels pooled; grey lines: equal F1")
    return figure


@styled
def reliability(bins: dict[str, pd.DataFrame], scores: dict) -> Figure:
    """The reliability curve of the model on each test set, and below it how many pixels make each point.

    Args:
        bins: a table by test set with the columns of `reliability.csv`; bins without a pixel have no point.
        scores: the content of `scores.json`.
    """
    figure, panels = _squares(len(bins))
    for axes, (dataset, table) in zip(panels, bins.items(), strict=True):
        fov = scores[dataset]["fov"]
        label = f"model, ECE {number(fov['calibration_error'])}, Brier {number(fov['brier'])}"
        _diagonal(axes, "perfect calibration")
        axes.plot(
            table["mean_probability"], table["vessel_share"], color=BLUE, lw=1.8, marker="o", ms=5, label=label,
            clip_on=False,
        )  # fmt: skip
        axes.set(title=dataset, ylabel="share of vessel")
        axes.tick_params(labelbottom=False)
        axes.legend(loc="upper left")
        _pixels(axes.inset_axes((0, -0.24, 1, 0.2), sharex=axes), table)
    figure.suptitle("Reliability in the field of view, all pixels pooled")
    return figure


@styled
def doubt(classes: dict[str, pd.DataFrame]) -> Figure:
    """The share of wrong pixels by class of doubt, a line a test set; empty where the network was shown no flips.

    Args:
        classes: a table by test set with the columns of `doubt.csv`; classes without a pixel have no point.
    """
    figure = Figure(figsize=(7.2, 4.8), layout="constrained")
    axes = figure.subplots()
    for colour, (dataset, table) in zip(cycle((BLUE, VERMILION, "#009E73", "#CC79A7", "#000000")), classes.items()):
        axes.plot(range(len(table)), table["wrong_share"], color=colour, marker="o", ms=5, label=dataset)
        axes.set_xticks(range(len(table)), [f"{end:g}" for end in table["doubt_up_to"]])
    axes.set(xlabel="doubt up to", ylabel="share of pixels that are wrong", ylim=(0, None))
    if any(table["pixels"].any() for table in classes.values()):
        axes.legend(loc="upper left")
    else:
        axes.text(0.5, 0.5, "predicted without flips: no doubt is known", ha="center", transform=axes.transAxes)
    figure.suptitle("Errors by doubt in the field of view, all pixels pooled")
    return figure


@styled
def intervals(summary: pd.DataFrame) -> Figure:
    """Mean over images of each observer's scores in the FOV, with its 95 % interval, from the table `summary.csv`.

    An undefined score has no dot, a mean of too few people no whiskers.
    """
    table = summary[(summary["region"] == "fov") & summary["observer"].isin(MARKS) & summary["score"].isin(INTERVALS)]
    datasets = sorted(set(table["dataset"]))
    observers = [observer for observer in MARKS if observer in set(table["observer"])]
    figure = Figure(figsize=(2.4 + 5.6 * len(datasets), 7.6), layout="constrained")
    panels = figure.subplots(1, len(datasets), squeeze=False, sharex=True, sharey=True).flat
    for axes, dataset in zip(panels, datasets, strict=True):
        mine = table[table["dataset"] == dataset]
        _whiskers(axes, mine, observers)
        axes.set_title(f"{dataset}: {mine['images'].max()} images of {mine['groups'].max()} people")
    handles = [Line2D([], [], **_marker(observer, 6), label=reported.OBSERVERS[observer]) for observer in observers]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5 if len(datasets) > 1 else 3))
    figure.suptitle("Mean over test images and its 95 % interval, field of view")
    return figure


@styled
def confusion(per_image: pd.DataFrame, threshold: float) -> Figure:
    """The confusion matrix of the model on each test set: pixels and shares, in the FOV, all images pooled."""
    table = _select(per_image, "model").groupby("dataset")[["tp", "fp", "fn", "tn"]].sum()
    figure, panels = _squares(len(table))
    for axes, (dataset, row) in zip(panels, table.iterrows(), strict=True):
        _matrix(axes, np.array([[row.tn, row.fp], [row.fn, row.tp]], dtype=float))
        axes.set_title(dataset)
    figure.suptitle(f"Pixels in the field of view, threshold {threshold:.3f}")
    return figure


@styled
def per_image_f1(per_image: pd.DataFrame) -> Figure:
    """F1 of each test image in the FOV, worst first: model as bars, second observer as diamonds, their means."""
    datasets = sorted(set(per_image["dataset"]))
    widest = max(len(f1_by_image(per_image, dataset, "model")) for dataset in datasets)
    longest = min(max(map(len, per_image["id"])), LONGEST_ID)
    size = (float(np.clip(2 + 0.32 * widest, 8, 18)), 0.4 + (3.3 + 0.06 * longest) * len(datasets))
    figure = Figure(figsize=size, layout="constrained")
    for axes, dataset in zip(figure.subplots(len(datasets), 1, squeeze=False).flat, datasets, strict=True):
        model = f1_by_image(per_image, dataset, "model").sort_values(kind="stable")
        observer = f1_by_image(per_image, dataset, "second_observer").reindex(model.index)
        _bars(axes, model, observer)
        axes.set_title(dataset)
    figure.suptitle("F1 score of each test image in the field of view")
    return figure


def f1_by_image(per_image: pd.DataFrame, dataset: str, observer: str) -> pd.Series:
    """F1 in the FOV by image id, NaN where it is undefined."""
    table = _select(per_image, observer)
    return table[table["dataset"] == dataset].set_index("id")["f1"].astype(float)


def number(score: float | None) -> str:
    """A score as text, three digits; "undefined" where there is none."""
    return "undefined" if score is None or np.isnan(score) else f"{score:.3f}"


def _squares(count: int) -> tuple[Figure, list[Axes]]:
    """A figure with `count` square panels in rows of up to three."""
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.4 + 5.0 * columns, 0.5 + 5.0 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[:count]:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def _curves(kind: "Curves", curves: dict[str, pd.DataFrame], scores: dict) -> Figure:
    """A square panel a test set: the model's curve and the points of all observers that have both scores."""
    figure, panels = _squares(len(curves))
    for axes, (dataset, curve) in zip(panels, curves.items(), strict=True):
        kind.behind(axes)
        label = f"model, AUC {number(scores[dataset]['fov'][kind.area])}"
        line = [[1, *curve[name], 0] if kind.corners else curve[name] for name in (kind.x, kind.y)]
        axes.plot(*line, color=BLUE, lw=1.8, label=label, clip_on=False)
        for observer, name, point in _points(scores, dataset):
            if point[kind.x] is not None and point[kind.y] is not None:
                axes.plot(point[kind.x], point[kind.y], label=f"{name} ({kind.text(point)})", **_marker(observer, 8))
        axes.set(title=dataset, xlabel=kind.xlabel, ylabel=kind.ylabel)
        axes.legend(loc=kind.legend)
    return figure


def _points(scores: dict, dataset: str) -> Iterator[tuple[str, str, dict]]:
    """Observer, legend and scores in the FOV of the operating point, and of all others that the data set has."""
    yield "model", f"threshold {scores['threshold']:.3f}", scores[dataset]["fov"]
    for observer in list(MARKS)[1:]:
        if observer in scores[dataset]:
            yield observer, reported.OBSERVERS[observer], scores[dataset][observer]["fov"]


def _marker(observer: str, size: float) -> dict:
    """How an observer's point is drawn, `size` points across; the model's above the others."""
    shape, colour = MARKS[observer]
    solid = observer in SOLID
    filling = {"mfc": colour if solid else "none", "mec": "white" if solid else colour, "mew": 1.0 if solid else 1.4}
    return {"ls": "", "marker": shape, "ms": size, **filling, "zorder": 5 - 0.1 * list(MARKS).index(observer),
            "clip_on": False}  # fmt: skip


def _diagonal(axes: Axes, label: str | None = None) -> None:
    """The line of equal values: chance in a ROC, perfect calibration in a reliability curve."""
    axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":", label=label)


def _iso_f1(axes: Axes) -> None:
    """Grey lines of equal F1: precision = F1 recall / (2 recall - F1)."""
    for f1 in ISO_F1:
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#BFBFBF", lw=0.8, zorder=1)
        axes.annotate(f"{f1:.1f}", (1, f1 / (2 - f1)), (3, 0), textcoords="offset points", va="center", color=GREY,
                      fontsize=8, annotation_clip=False)  # fmt: skip
    axes.grid(False)


class Curves(NamedTuple):
    """What a chart of curves shows: columns and labels of the axes, score of the area, what is drawn and written."""

    x: str
    y: str
    xlabel: str
    ylabel: str
    area: str
    legend: str
    corners: bool  # the curve goes on to (1, 1) and (0, 0)
    behind: Callable[[Axes], None]
    text: Callable[[dict], str]


ROC = Curves(
    "false_positive_rate", "recall", "false positive rate (1 - specificity)", "recall (sensitivity)", "auc_roc",
    "lower right", True, _diagonal, lambda point: f"FPR {number(point['false_positive_rate'])}, "
    f"recall {number(point['recall'])}",
)  # fmt: skip
PRECISION_RECALL = Curves(
    "recall", "precision", "recall (sensitivity)", "precision", "auc_pr",
    "lower left", False, _iso_f1, lambda point: f"F1 {number(point['f1'])}",
)  # fmt: skip


def _pixels(axes: Axes, table: pd.DataFrame) -> None:
    """Bars of the number of pixels of each bin, on a logarithmic axis."""
    width = 1 / len(table)
    axes.set(yscale="log", ylim=(0.5, max(10, 2 * table["pixels"].max())), xlabel="probability", ylabel="pixels")
    axes.bar(table["probability_up_to"] - width / 2, table["pixels"], width=0.9 * width, color=SKY)


def _whiskers(axes: Axes, table: pd.DataFrame, observers: list[str]) -> None:
    """A band a score, from the top; in it a dot with whiskers an observer."""
    steps = np.linspace(-0.3, 0.3, len(observers)) if len(observers) > 1 else [0.0]
    for place in range(0, len(INTERVALS), 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F5F5F5", zorder=0)
    for observer, step in zip(observers, steps, strict=True):
        rows = table[table["observer"] == observer].set_index("score").reindex(INTERVALS)
        places = np.arange(len(INTERVALS)) + step
        colour = MARKS[observer][1]
        axes.hlines(places, rows["low"], rows["high"], color=colour, lw=1.2)
        for end in ("low", "high"):
            axes.plot(rows[end], places, color=colour, ls="", marker="|", ms=6, mew=1.2)
        axes.plot(rows["mean"], places, **_marker(observer, 5) | {"mec": colour})
    axes.set(ylim=(len(INTERVALS) - 0.5, -0.5), yticks=range(len(INTERVALS)), xlabel="score")
    axes.set_yticklabels([reported.SCORES[name].label for name in INTERVALS])
    axes.grid(False, axis="y")


def _matrix(axes: Axes, pixels: np.ndarray) -> None:
    """Draw [[TN, FP], [FN, TP]], coloured and labelled by share of the row (truth) and of all pixels."""
    rows = pixels.sum(axis=1, keepdims=True)
    shares = np.divide(pixels, rows, out=np.full((2, 2), np.nan), where=rows > 0)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = (("true negative", "false positive"), ("false negative", "true positive"))
    for (row, column), count in np.ndenumerate(pixels):
        share = shares[row, column]
        of = ("background", "vessels")[row]
        text = f"{count:,.0f} pixels\n{_percent(count / max(pixels.sum(), 1))} of all\n{_percent(share)} of {of}"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row - 0.16, names[row][column], ha="center", va="bottom", color=colour, weight="bold")
        axes.text(column, row - 0.08, text, ha="center", va="top", color=colour, linespacing=1.5)
    axes.set(xticks=[0, 1], yticks=[0, 1], xlim=(-0.5, 1.5), ylim=(1.5, -0.5), xlabel="predicted", ylabel="truth")
    axes.set_xticklabels(["background", "vessel"])
    axes.set_yticklabels(["background", "vessel"], rotation=90, va="center")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.grid(False)


def _bars(axes: Axes, model: pd.Series, observer: pd.Series) -> None:
    """Bars of the model's F1 by image with their values, diamonds of the second observer's, and both means."""
    places = np.arange(len(model))
    axes.bar(places, model, color=SKY, width=0.8 * min(1, len(model) / FEW_IMAGES))
    legible = len(model) <= MANY_IMAGES
    for place, f1 in zip(places, model if legible else [], strict=legible):
        axes.text(place, 0.02, number(f1), rotation=90, ha="center", va="bottom", fontsize=8)
    handles = [_mean_line(axes, model, "model", BLUE, "-")]
    if observer.notna().any():
        axes.plot(places, observer, ls="", marker="D", ms=5, color=VERMILION, mec="white", mew=0.6, zorder=4,
                  clip_on=False)  # fmt: skip
        handles.append(_mean_line(axes, observer, "second observer", VERMILION, "--"))
    axes.set(ylim=(0, 1), ylabel="F1 score", xlim=(-0.6, len(model) - 0.4), xticks=places if legible else [])
    if legible:
        ids = [id_ if len(id_) <= LONGEST_ID else f"…{id_[1 - LONGEST_ID :]}" for id_ in model.index]
        axes.set_xticklabels(ids, rotation=90 if max(map(len, ids)) > 2 else 0, fontsize=8)
    axes.grid(False, axis="x")
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=1.5)


def _mean_line(axes: Axes, f1: pd.Series, name: str, colour: str, style: str) -> Line2D:
    """Draw the mean over the images that have an F1; its legend tells over how many."""
    mean, count = f1.mean(), f1.notna().sum()
    label = f"{name}\nmean {number(mean)}, n = {count}"
    line = Line2D([], [], color=colour, ls=style, marker="s" if name == "model" else "D", ms=6, label=label)
    line.set(markerfacecolor=SKY if name == "model" else colour, markeredgecolor="none")
    if not np.isnan(mean):
        axes.axhline(mean, color=colour, ls=style, lw=1.2, zorder=3)
    return line


def _select(per_image: pd.DataFrame, observer: str) -> pd.DataFrame:
    return per_image[(per_image["observer"] == observer) & (per_image["region"] == "fov")]


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{100 * share:.1f} %"
