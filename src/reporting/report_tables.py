"""Markdown tables of the report."""

from collections.abc import Iterable

import pandas as pd

from src.common.markdown import interval, number, p_value, table
from src.metrics import metric_definitions
from src.reporting.run_results import RunResults, SummaryRow

POOLED_SCORES = ("f1", "auc_roc", "auc_pr", "mcc", "accuracy", "precision", "recall", "specificity")
# The columns of the reference notebook's table.
FULL_IMAGE_SCORES = ("accuracy", "f1", "iou_mean", "loss", "mcc", "precision", "recall", "specificity")
COMPARED_SCORES = ("f1", "mcc", "auc_roc", "auc_pr", "cldice", "recall_thin")
DIGITS = {"hausdorff_95": 2, "surface_distance": 2, "betti_0_error": 1, "betti_1_error": 1}  # 4 of any other score
MEAN_SCORES = (
    *POOLED_SCORES, "cldice", "recall_thin", "recall_medium", "recall_thick", "precision_thin", "precision_medium",
    "precision_thick", *DIGITS, "calibration_error", "brier",
)  # fmt: skip


def pooled_table(run: RunResults, dataset: str, region: str, scores: Iterable[str]) -> str:
    """Scores pooled over pixels: a row per observer, a column per score. The loss needs no threshold."""
    rows_of = {score: run.score_rows(dataset, region, score) for score in scores}
    if "loss" in rows_of and "model" in rows_of["loss"]:
        rows_of["loss"]["model_at_half"] = rows_of["loss"]["model"]
    rows = []
    for observer in run.observers(dataset):
        cells = (number(of[observer].pooled) if observer in of else "-" for of in rows_of.values())
        rows.append([_observer_name(run, dataset, observer), *cells])
    return table(["observer", *map(_label, rows_of)], rows)


def mean_table(run: RunResults, dataset: str) -> str:
    """Means over images with standard deviation and interval, field of view: a row per score, a column per observer."""
    observers, rows = run.observers(dataset), []
    for score in MEAN_SCORES:
        of = run.score_rows(dataset, "fov", score)
        rows.append([_label(score), *(_mean_cell(run, of[name]) if name in of else "-" for name in observers)])
    return table(["score", *(_observer_name(run, dataset, name) for name in observers)], rows)


def difference_table(run: RunResults, dataset: str) -> str:
    """Paired differences in the field of view: a row for each other observer and score that both have."""
    head = ["model minus", "score", "difference", "95 % interval", "Wilcoxon p", "images better / worse / all"]
    rows_of = {score: run.difference_rows(dataset, score) for score in COMPARED_SCORES}
    rows = []
    for observer in run.observers(dataset):
        for score, of in rows_of.items():
            if observer in of:
                row = of[observer]
                numbers = number(row.mean, sign=True), interval(row.low, row.high, sign=True), p_value(row.p)
                counts = f"{row.better} / {row.worse} / {row.images}"
                rows.append([metric_definitions.OBSERVERS[observer], short_label(score), *numbers, counts])
    return table(head, rows)


def data_table(audit: pd.DataFrame) -> str:
    """Numbers of images and patients, sizes, fractions of vessel and FOV: a row per subset and data set.

    The column of the second observer is left out where no data set has one.
    """
    has_second_observer = audit["second_observers"].any()
    head = ["subset", "data set", "images", "patients", "size in pixels", "vessel fraction", "FOV fraction"]
    if has_second_observer:
        head.insert(4, "with second observer")
    rows = []
    for row in audit.to_dict("records"):
        sizes = dict.fromkeys((row["smallest"], row["largest"]))
        fractions = (
            "{:.3f} ({:.3f} to {:.3f})".format(*(row[f"{kind}_fraction_{part}"] for part in ("mean", "min", "max")))
            for kind in ("vessel", "fov")
        )
        counts = [row["images"], row["groups"], *([row["second_observers"]] if has_second_observer else [])]
        rows.append([row["subset"], f"`{row['dataset']}`", *map(str, counts), " to ".join(sizes), *fractions])
    return table(head, rows)


def short_label(score: str) -> str:
    """Return the label of a score without its part in parentheses.

    >>> short_label("auc_pr")
    'AUC-PR'
    """
    return metric_definitions.SCORES[score].label.partition(" (")[0]


def _mean_cell(run: RunResults, row: SummaryRow) -> str:
    """Mean, standard deviation and interval; the number of images where some have no such score."""
    if not row.images:
        return "-"
    digits, every = DIGITS.get(row.score, 4), run.image_count(row.dataset, row.observer)
    count = f" (n = {row.images})" if row.images < every else ""
    return f"{number(row.mean, digits)} ± {number(row.sd, digits)}{count}<br>{interval(row.low, row.high, digits)}"


def _observer_name(run: RunResults, dataset: str, observer: str) -> str:
    """Name of an observer, with the number of its images where that differs from the model's."""
    count, every = run.image_count(dataset, observer), run.image_count(dataset)
    return metric_definitions.OBSERVERS[observer] + (f" ({count} of {every} images)" if count < every else "")


def _label(score: str) -> str:
    definition = metric_definitions.SCORES[score]
    return definition.label + (" ↓" if definition.lower_is_better else "")
