"""The report of a run: what a reader wants to know of its scores, as Markdown that GitHub shows.

It is made of the tables of `metrics/` alone and holds no date: equal tables, parameters and versions, equal bytes.
"""

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import pandas as pd
import yaml

from src import reported, tables
from src.markdown import interval, number, p_value, table

TITLE = "Retinal vessel segmentation: report of the run"
POOLED = ("f1", "auc_roc", "auc_pr", "mcc", "accuracy", "precision", "recall", "specificity")
ORIGINAL = ("accuracy", "f1", "iou_mean", "loss", "mcc", "precision", "recall", "specificity")  # the columns it had
DIFFERENCES = ("f1", "mcc", "auc_roc", "auc_pr", "cldice", "recall_thin")
DIGITS = {"hausdorff_95": 2, "surface_distance": 2, "betti_0_error": 1, "betti_1_error": 1}
MEANS = (
    *POOLED, "cldice", "recall_thin", "recall_middle", "recall_thick", "precision_thin", "precision_middle",
    "precision_thick", *DIGITS, "calibration_error", "brier",
)  # fmt: skip
DOUBTFUL = 0.1  # doubt above which the report speaks of doubtful pixels, the end of a class
NOT_FILTERS = ("model", "model_at_half", "second_observer")
POINTS = "field of view, pooled over all pixels"
FIGURES = {  # title, what it shows, whose threshold
    "intervals": ("Means and intervals", "field of view, means over images and their 95 % intervals", "all"),
    "per_image": ("F1 of each image", "field of view, each image alone, lines: means over images", "model"),
    "roc": ("ROC", POINTS, "all"),
    "precision_recall": ("Precision and recall", POINTS, "all"),
    "reliability": ("Reliability", POINTS, "none"),
    "doubt": ("Errors by doubt", f"{POINTS}; doubt is twice the standard deviation over the four flips", "model"),
    "confusion": ("Confusion matrix", POINTS, "model"),
    "learning_curves": ("Learning curves", "patches, field of view, pooled over all pixels of an epoch", "half"),
}
NOTES = """\
Truth is the drawing of the first observer; the second observer is scored against it by the same code. A model that
learnt from drawings of the first may lie closer to them than another person does: that is not to see better.

Intervals are 95 %, by studentised bootstrap over people ({draws} draws). They tell how a mean varies with the people
in the test set, not with another training of the network. p is that of Wilcoxon's signed-rank test over people,
not corrected for the number of comparisons. Lengths are in pixels of a field of view 540 pixels wide, whatever the size
of the photograph: vessels are thin below {thin} and thick from {thick}. "-" is undefined or does not apply; an image
without a score does not count, and the cell says how many did (n)."""


class Results(NamedTuple):
    """A finished run: the contents of its tables, its parameters, and what it was made with."""

    scores: dict
    summary: pd.DataFrame
    differences: pd.DataFrame
    audit: pd.DataFrame
    doubt: pd.DataFrame
    params: dict
    versions: dict[str, str]
    hashes: dict[str, str]


def write(results: Results) -> str:
    """The report as Markdown."""
    datasets = tables.test_sets(results.scores)
    parts = [f"# {TITLE}", *(headline(results, dataset) for dataset in datasets), notes(results)]
    parts += [part for dataset in datasets for part in (f"## `{dataset}`", *chapter(results, dataset))]
    parts += ["## Data", *data(results.audit)]
    parts += ["## Figures", *(part for name in FIGURES for part in _figure(results, name, datasets))]
    parts += ["## Parameters", f"```yaml\n{yaml.safe_dump(results.params, sort_keys=False)}```"]
    parts += ["## Versions when this report was written", table(["package", "version"], results.versions.items())]
    parts += ["## Files", table(["file", "SHA-256"], ([f"`{n}`", f"`{h}`"] for n, h in results.hashes.items()))]
    return "\n\n".join(parts) + "\n"


def notes(results: Results) -> str:
    """What a reader should know of truth, intervals and units."""
    evaluate, (thin, thick) = results.params["evaluate"], results.params["evaluate"]["widths"]
    return NOTES.format(draws=evaluate["draws"], thin=thin, thick=thick)


def threshold_rule(results: Results) -> str:
    """The model's threshold and how it came about."""
    given = results.params["evaluate"]["threshold"] is not None
    rule = "given" if given else "best pooled F1 on the validation images"
    return f"{results.scores['threshold']:.4f} ({rule})"


def headline(results: Results, dataset: str) -> str:
    """The main result on one test set, in plain words."""
    means, paired = _rows(results.summary, dataset, "fov", "f1"), _rows(results.differences, dataset, "fov", "f1")
    text = (
        f"On {_counted(results, dataset)} of `{dataset}`, the model reaches a mean F1 of "
        f"{_mean(means['model'])} per image in the field of view, at threshold {threshold_rule(results)}."
    )
    if "second_observer" in paired:
        row = paired["second_observer"]
        text += (
            f" The second observer reaches {_mean(means['second_observer'])}. Model minus second observer, by image: "
            f"{_mean(row, sign=True)}, {row.won} images won, {row.lost} lost."
        )
    else:
        text += " No second observer has drawn these images."
    filters = [f"{number(means[name].mean)} ({reported.OBSERVERS[name]})" for name in means if name not in NOT_FILTERS]
    return text + (f" Classical filters reach {', '.join(filters)}." if filters else "")


def chapter(results: Results, dataset: str) -> list[str]:
    """All tables of one test set with their captions."""
    observers = [name for name in reported.OBSERVERS if name in _rows(results.summary, dataset, "fov", "accuracy")]
    where, rules = f"`{dataset}`, {_counted(results, dataset)}", _rules(results, observers)
    return [
        "### Field of view, pooled",
        _pooled(results, dataset, "fov", observers, POOLED),
        f"*{where}: field of view, pooled over all pixels. {rules}*",
        "### Full image, pooled",
        _pooled(results, dataset, "full_image", observers, ORIGINAL),
        f"*{where}: full image, pooled over all pixels; model and filters find nothing outside the field of view. "
        "Columns, and the row at threshold 0.5, have the form of the original system's table. The "
        f"loss (`{results.params['loss']['name']}`) is the model's; it needs no threshold. {rules}*",
        "### Field of view, means over images",
        _means(results, dataset, observers),
        f"*{where}: field of view, mean over images ± standard deviation, 95 % interval below; ↓ lower is better. "
        f"{rules}*",
        "### Field of view, paired differences",
        _differences(results, dataset, observers),
        f"*{where}: field of view, mean over images of model minus other. {rules}*",
    ]  # fmt: skip


def _pooled(results: Results, dataset: str, region: str, observers: list[str], scores: Iterable[str]) -> str:
    """A row an observer, a column a score; the loss of the model holds for its every threshold."""
    table_of = {score: _rows(results.summary, dataset, region, score) for score in scores}
    if "loss" in table_of and "model" in table_of["loss"]:
        table_of["loss"]["model_at_half"] = table_of["loss"]["model"]
    lines = []
    for name in observers:
        cells = (number(rows[name].pooled) if name in rows else "-" for rows in table_of.values())
        lines.append([_who(results, dataset, name), *cells])
    return table(["observer", *map(_label, table_of)], lines)


def _means(results: Results, dataset: str, observers: list[str]) -> str:
    """A row a score, a column an observer."""
    lines = []
    for score in MEANS:
        rows = _rows(results.summary, dataset, "fov", score)
        cells = (_cell(results, rows[name]) if name in rows else "-" for name in observers)
        lines.append([_label(score), *cells])
    return table(["score", *(_who(results, dataset, name) for name in observers)], lines)


def _cell(results: Results, row: NamedTuple) -> str:
    """Mean, deviation and interval; the number of images where some have no such score."""
    if not row.images:
        return "-"
    digits, every = DIGITS.get(row.score, 4), _images(results, row.dataset, row.observer)
    count = f" (n = {row.images})" if row.images < every else ""
    return f"{number(row.mean, digits)} ± {number(row.sd, digits)}{count}<br>{interval(row.low, row.high, digits)}"


def _differences(results: Results, dataset: str, observers: list[str]) -> str:
    """A row an other observer and score that both have."""
    head = ["model minus", "score", "difference", "95 % interval", "Wilcoxon p", "images won", "lost", "n"]
    lines = []
    for name, score in product(observers, DIFFERENCES):
        row = _rows(results.differences, dataset, "fov", score).get(name)
        if row is not None:
            numbers = number(row.mean, sign=True), interval(row.low, row.high, sign=True), p_value(row.p)
            counts = map(str, (row.won, row.lost, row.images))
            lines.append([reported.OBSERVERS[name], _label(score), *numbers, *counts])
    return table(head, lines)


def data(audit: pd.DataFrame) -> list[str]:
    """A row a subset and data set, and the caption."""
    head = ["subset", "data set", "images", "people", "second drawings", "smallest", "largest", "vessel", "FOV"]
    lines = []
    for row in audit.to_dict("records"):
        counts = (str(row[name]) for name in ("images", "groups", "second_observers", "smallest", "largest"))
        shares = (
            "{:.1%} ({:.1%} to {:.1%})".format(*(row[f"{kind}_share_{part}"] for part in ("mean", "min", "max")))
            for kind in ("vessel", "fov")
        )
        lines.append([row["subset"], f"`{row['dataset']}`", *counts, *shares])
    return [table(head, lines), "*Vessel and field of view (FOV): mean share of the picture (range).*"]


def _figure(results: Results, name: str, datasets: list[str]) -> list[str]:
    """A figure with its caption."""
    title, what, whose = FIGURES[name]
    observers = [name for name in reported.OBSERVERS if any(name in results.scores[dataset] for dataset in datasets)]
    rules = {
        "all": _rules(results, observers),
        "model": _rules(results, []),
        "half": "Threshold: 0.5.",
        "none": "No threshold.",
    }
    counts = ", ".join(f"`{dataset}` {_counted(results, dataset)}" for dataset in datasets)
    if name == "learning_curves":
        images = results.audit.groupby("subset")["images"].sum()
        counts = " and ".join(f"{images.get(subset, 0)} {subset} images" for subset in ("train", "validation"))
    told = doubts(results, datasets) if name == "doubt" else []
    return [f"### {title}", *told, f"![{title}](figures/{name}.png)", f"*{counts}: {what}. {rules[whose]}*"]


def doubts(results: Results, datasets: list[str]) -> list[str]:
    """A sentence a test set: is the model wrong more often where it doubts? None where it was shown no flips."""
    sentences = []
    for dataset in datasets:
        rows = results.doubt[results.doubt["dataset"] == dataset]
        if not rows["pixels"].any():
            continue
        above = rows["doubt_up_to"] > DOUBTFUL
        (pixels, wrong), (rest, wrong_rest) = (rows[part][["pixels", "wrong"]].sum() for part in (above, ~above))
        sentences.append(
            f"`{dataset}`: the doubt is above {DOUBTFUL} on {pixels / max(pixels + rest, 1):.1%} of the field of view; "
            f"{wrong / max(pixels, 1):.1%} of these pixels are wrong, {wrong_rest / max(rest, 1):.1%} of the others."
        )
    return sentences


def _rules(results: Results, observers: Iterable[str]) -> str:
    """How the thresholds of the model, and of the filters among `observers`, came about."""
    filters = ", filters by best pooled F1 on the training images" if set(observers) - set(NOT_FILTERS) else ""
    return f"Thresholds: model {threshold_rule(results)}{filters}."


def _rows(frame: pd.DataFrame, dataset: str, region: str, score: str) -> dict[str, NamedTuple]:
    """The rows of one score by observer."""
    found = frame[(frame["dataset"] == dataset) & (frame["region"] == region) & (frame["score"] == score)]
    return {row.observer: row for row in found.itertuples(index=False)}


def _images(results: Results, dataset: str, observer: str) -> int:
    """The number of images of an observer."""
    scores = results.scores[dataset]
    return scores["images"] if observer == "model" else scores[observer]["images"]


def _counted(results: Results, dataset: str) -> str:
    """How many images of how many people a test set has."""
    people = _rows(results.summary, dataset, "fov", "accuracy")["model"].groups
    return f"{_images(results, dataset, 'model')} test images of {people} {'person' if people == 1 else 'people'}"


def _who(results: Results, dataset: str, observer: str) -> str:
    """The name of an observer, with the number of its images where that is another than the model's."""
    count, every = (_images(results, dataset, name) for name in (observer, "model"))
    return reported.OBSERVERS[observer] + (f" ({count} of {every} images)" if count < every else "")


def _mean(row: NamedTuple, sign: bool = False) -> str:
    """A mean with its interval, for a sentence."""
    ends = interval(row.low, row.high, sign=sign)
    return f"{number(row.mean, sign=sign)} ({'no interval' if ends == '-' else f'95 % interval {ends}'})"


def _label(score: str) -> str:
    return reported.SCORES[score].label + (" ↓" if reported.SCORES[score].lower else "")
