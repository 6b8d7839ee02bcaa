"""The figures: one function each, from tables and arrays to a matplotlib Figure.

Tables are those of `metrics/`; scores are taken in the field of view (FOV). Nothing touches pyplot or the user's
matplotlib settings, and the colours are those of Okabe and Ito (2008), which the colour-blind can tell apart.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import MaxNLocator

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION = "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00"
GREY, LIGHT = "#767676", "#D9D9D9"
OUTCOMES = {"hit": BLACK, "miss": VERMILION, "false alarm": SKY}
OUTSIDE = LIGHT  # of the FOV, in the comparison
VIEWS = ("photograph", "truth", "probability", "comparison")
ONE = 65535  # the level of probability 1 in a prediction on disk
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
HISTORY = {
    "accuracy": "Accuracy",
    "f1": "F1 score",
    "iou": "IoU (mean of both classes)",
    "loss": "Loss",
    "mcc": "MCC",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
}
FEW_EPOCHS = 40  # up to here each epoch gets a dot
LARGEST = 480  # pixels, the longer side of a picture in an example: keeps the file small
FEW_IMAGES = 8  # fewer bars are as slim as these
MANY_IMAGES = 60  # more bars have no room for text
LONGEST_ID = 20  # characters shown
ISO_F1 = (0.5, 0.6, 0.7, 0.8, 0.9)
styled = mpl.rc_context(STYLE)


class Example(NamedTuple):
    """One test image: image (H, W, 3) uint8; truth, predicted, fov (H, W) bool; probability (H, W) float."""

    image: np.ndarray
    truth: np.ndarray
    probability: np.ndarray
    predicted: np.ndarray
    fov: np.ndarray


def picture(image: np.ndarray, truth: np.ndarray, fov: np.ndarray, levels: np.ndarray, threshold: float) -> Example:
    """An example from its pictures and the prediction on disk, `levels` (H, W) uint16."""
    return Example(image, truth, levels / ONE, levels > threshold * ONE, fov)


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write the figure as a PNG without program name or date: the same figure gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        figure.savefig(path, dpi=dpi, metadata={"Software": None})


@styled
def learning_curves(history: pd.DataFrame) -> Figure:
    """Eight panels, one a score, train and validation by epoch, from the table `training.csv`."""
    figure = Figure(figsize=(14, 6.4), layout="constrained")
    marker = "." if len(history) <= FEW_EPOCHS else ""
    for axes, (score, title) in zip(figure.subplots(2, 4).flat, HISTORY.items(), strict=True):
        axes.plot(history["epoch"], history[score], color=BLUE, marker=marker, label="train")
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
    """The receiver operating characteristic of each test set, with operating point and second observer.

    Args:
        curves: a table by test set with the columns `false_positive_rate` and `recall`.
        scores: the content of `scores.json`.
    """
    figure, panels = _squares(len(curves))
    for axes, (dataset, curve) in zip(panels, curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], color=GREY, lw=1, ls=":")
        label = f"model, AUC {_number(scores[dataset]['fov']['auc_roc'])}"
        corners = [1, *curve["false_positive_rate"], 0], [1, *curve["recall"], 0]
        axes.plot(*corners, color=BLUE, lw=1.8, label=label, clip_on=False)
        for name, marker, point in _points(scores, dataset):
            if point["specificity"] is not None and point["recall"] is not None:
                rate, recall = 1 - point["specificity"], point["recall"]
                axes.plot(rate, recall, label=f"{name} (FPR {rate:.3f}, recall {recall:.3f})", **marker)
        axes.set(title=dataset, xlabel="false positive rate (1 - specificity)", ylabel="recall (sensitivity)")
        axes.legend(loc="lower right")
    figure.suptitle("ROC in the field of view, all pixels pooled")
    return figure


@styled
def precision_recall(curves: dict[str, pd.DataFrame], scores: dict) -> Figure:
    """Precision over recall of each test set, with operating point, second observer and lines of equal F1.

    Args:
        curves: a table by test set with the columns `recall` and `precision`.
        scores: the content of `scores.json`.
    """
    figure, panels = _squares(len(curves))
    for axes, (dataset, curve) in zip(panels, curves.items(), strict=True):
        _iso_f1(axes)
        label = f"model, AUC {_number(scores[dataset]['fov']['auc_pr'])}"
        axes.plot(curve["recall"], curve["precision"], color=BLUE, lw=1.8, label=label, clip_on=False)
        for name, marker, point in _points(scores, dataset):
            if point["precision"] is not None and point["recall"] is not None:
                text = f"{name} (F1 {_number(point['f1'])})"
                axes.plot(point["recall"], point["precision"], label=text, **marker)
        axes.set(title=dataset, xlabel="recall (sensitivity)", ylabel="precision")
        axes.legend(loc="lower left")
    figure.suptitle("Precision and recall in the field of view,\nall pixels pooled; grey lines: equal F1")
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
    widest = max(len(_f1(per_image, dataset, "model")) for dataset in datasets)
    longest = min(max(map(len, per_image["id"])), LONGEST_ID)
    size = (float(np.clip(2 + 0.32 * widest, 8, 18)), 0.4 + (3.3 + 0.06 * longest) * len(datasets))
    figure = Figure(figsize=size, layout="constrained")
    for axes, dataset in zip(figure.subplots(len(datasets), 1, squeeze=False).flat, datasets, strict=True):
        model = _f1(per_image, dataset, "model").sort_values(kind="stable")
        observer = _f1(per_image, dataset, "second_observer").reindex(model.index)
        _bars(axes, model, observer)
        axes.set_title(dataset)
    figure.suptitle("F1 score of each test image in the field of view")
    return figure


@styled
def example(picture: Example, zoom: int, title: str) -> Figure:
    """Photograph, truth, probability and comparison of one test image, and a detail of `zoom` pixels of each.

    The detail is the square with the most errors; of equals, the uppermost, then the leftmost.
    """
    rows, columns = worst_window((picture.truth != picture.predicted) & picture.fov, zoom)
    detail = Example(*(array[rows, columns] for array in picture))
    height, width = picture.truth.shape
    figure = Figure(figsize=(13.6, 1.2 + 3.35 * (height / width + 1)), layout="constrained")
    whole, enlarged = figure.subplots(2, 4, gridspec_kw={"height_ratios": [height / width, 1]})
    for axes, drawn, name in zip(whole, _drawn(picture), VIEWS, strict=True):
        axes.imshow(_shrink(drawn), extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=1)
        axes.add_patch(_outline(rows, columns))
        axes.spines[:].set_visible(False)
        axes.set_title(name)
    for axes, part in zip(enlarged, _drawn(detail), strict=True):
        axes.imshow(_shrink(part), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=True, color=ORANGE, lw=1.6)
    for axes in (*whole, *enlarged):
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    colours = {**OUTCOMES, "background": "white", "outside the field of view": OUTSIDE}
    handles = [Patch(fc=colour, ec=GREY, lw=0.5, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=11)
    figure.suptitle(title, fontsize=13)
    return figure


def best_median_worst(per_image: pd.DataFrame, dataset: str) -> dict[str, str]:
    """The ids of the images with the best, median and worst F1 of the model in the FOV; of equals, the first id.

    Images without an F1 do not count; where no image has one, the answer is empty. The median of an even number
    is the better of the two in the middle.
    """
    f1 = _f1(per_image, dataset, "model").dropna().sort_index().sort_values(ascending=False, kind="stable")
    if f1.empty:
        return {}
    ids = list(f1.index)
    return {"best": ids[0], "median": ids[(len(ids) - 1) // 2], "worst": ids[-1]}


def example_title(per_image: pd.DataFrame, dataset: str, rank: str, id_: str) -> str:
    """What an example shows: data set, image, rank among how many, F1 of the model and of the second observer."""
    f1, observer = _f1(per_image, dataset, "model"), _f1(per_image, dataset, "second_observer")
    title = f"{dataset} {id_}: {rank} of {f1.notna().sum()} test images, F1 {_number(f1[id_])} in the field of view"
    return title if id_ not in observer else f"{title} (second observer {_number(observer[id_])})"


def worst_window(errors: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of the square of `size` pixels (or less in a smaller picture) with the most errors.

    >>> worst_window(np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool), 2)
    (slice(0, 2, None), slice(2, 4, None))
    """
    height, width = (min(size, side) for side in errors.shape)
    sums = cv2.integral(errors.astype(np.uint8))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(np.argmax(inside), inside.shape))
    return slice(top, top + height), slice(left, left + width)


def compare(picture: Example) -> np.ndarray:
    """Hits, misses and false alarms in the colours of OUTCOMES on white, (H, W, 3) uint8; outside the FOV grey."""
    drawn = np.full((*picture.truth.shape, 3), 255, np.uint8)
    drawn[picture.truth & picture.predicted] = _rgb(OUTCOMES["hit"])
    drawn[picture.truth & ~picture.predicted] = _rgb(OUTCOMES["miss"])
    drawn[~picture.truth & picture.predicted] = _rgb(OUTCOMES["false alarm"])
    drawn[~picture.fov] = _rgb(OUTSIDE)
    return drawn


def _outline(rows: slice, columns: slice) -> Rectangle:
    """The frame of a window."""
    size = columns.stop - columns.start, rows.stop - rows.start
    return Rectangle((columns.start, rows.start), *size, fill=False, ec=ORANGE, lw=1.6, clip_on=False)


def _drawn(picture: Example) -> tuple[np.ndarray, ...]:
    """The four pictures of a row in an example."""
    return picture.image, picture.truth.astype(np.float32), picture.probability, compare(picture)


def _rgb(colour: str) -> tuple[int, int, int]:
    return tuple(bytes.fromhex(colour[1:]))


def _shrink(picture: np.ndarray) -> np.ndarray:
    """The picture with its longer side at most LARGEST pixels."""
    scale = LARGEST / max(picture.shape[:2])
    if scale >= 1:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


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


def _points(scores: dict, dataset: str) -> Iterator[tuple[str, dict, dict]]:
    """Legend, marker and scores in the FOV of the operating point, and of the second observer where there is one."""
    base = {"ls": "", "mec": "white", "mew": 1.0, "zorder": 5, "clip_on": False}
    name = f"threshold {scores['threshold']:.3f}"
    yield name, {**base, "marker": "o", "ms": 10, "color": BLUE}, scores[dataset]["fov"]
    if "second_observer" in scores[dataset]:
        marker = {**base, "marker": "D", "ms": 9, "color": VERMILION}
        yield "second observer", marker, scores[dataset]["second_observer"]["fov"]


def _iso_f1(axes: Axes) -> None:
    """Grey lines of equal F1: precision = F1 recall / (2 recall - F1)."""
    for f1 in ISO_F1:
        recall = np.linspace(f1 / (2 - f1), 1, 100)
        axes.plot(recall, f1 * recall / (2 * recall - f1), color="#BFBFBF", lw=0.8, zorder=1)
        axes.annotate(f"{f1:.1f}", (1, f1 / (2 - f1)), (3, 0), textcoords="offset points", va="center", color=GREY,
                      fontsize=8, annotation_clip=False)  # fmt: skip
    axes.grid(False)


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
        axes.text(place, 0.02, _number(f1), rotation=90, ha="center", va="bottom", fontsize=8)
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
    mean, number = f1.mean(), f1.notna().sum()
    label = f"{name}\nmean {_number(mean)}, n = {number}"
    line = Line2D([], [], color=colour, ls=style, marker="s" if name == "model" else "D", ms=6, label=label)
    line.set(markerfacecolor=SKY if name == "model" else colour, markeredgecolor="none")
    if not np.isnan(mean):
        axes.axhline(mean, color=colour, ls=style, lw=1.2, zorder=3)
    return line


def _select(per_image: pd.DataFrame, observer: str) -> pd.DataFrame:
    return per_image[(per_image["observer"] == observer) & (per_image["region"] == "fov")]


def _f1(per_image: pd.DataFrame, dataset: str, observer: str) -> pd.Series:
    """F1 in the FOV by image id, NaN where it is undefined."""
    table = _select(per_image, observer)
    return table[table["dataset"] == dataset].set_index("id")["f1"].astype(float)


def _number(score: float | None) -> str:
    return "undefined" if score is None or np.isnan(score) else f"{score:.3f}"


def _percent(share: float) -> str:
    return "undefined" if np.isnan(share) else f"{100 * share:.1f} %"
