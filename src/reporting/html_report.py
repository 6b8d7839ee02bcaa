"""The report of a run as one HTML file that holds everything it shows and requests nothing from a server.

It has the content of the Markdown report and shows the test images. It holds no date: equal files, equal bytes.
"""

import re
from typing import Any, NamedTuple

import jinja2
import numpy as np
import pandas as pd
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from src.common.markdown import interval, number
from src.evaluation.result_tables import rows_in_fov
from src.metrics import metric_definitions
from src.reporting import figure_texts, image_layers, markdown_report, overlays, report_tables
from src.reporting.run_results import RunResults, SummaryRow

MAX_IMAGES = 60  # shown; with more, the file would be too large to open
IMAGE_SCORES = ("f1", "mcc", "auc_roc", "auc_pr", "precision", "recall", "cldice", "recall_thin")
CURVE_SIZE = (240.0, 110.0)  # width and height of a learning curve, in units of its SVG
# Learning curves are drawn as SVG, for narrow screens.
FIGURES = {name: text for name, text in figure_texts.FIGURES.items() if name != "learning_curves"}


class ReportImage(NamedTuple):
    """A test image that is shown."""

    dataset: str
    id: str
    layers: image_layers.ImageLayers


class ReportContents(NamedTuple):
    """What the HTML report has beside the Markdown report: tables of `metrics/`, figures as PNG by name, images."""

    per_image: pd.DataFrame
    history: pd.DataFrame
    figures: dict[str, bytes]
    images: list[ReportImage]


def select_images(per_image: pd.DataFrame) -> list[tuple[str, str]]:
    """Return data set and id of the images to show: all, or MAX_IMAGES spread evenly over the ranking by F1."""
    table = rows_in_fov(per_image, "model").sort_values(["f1", "dataset", "id"], na_position="first")
    ranks = np.unique(np.linspace(0, len(table) - 1, min(MAX_IMAGES, len(table))).round().astype(int))
    return sorted(zip(table["dataset"].iloc[ranks], table["id"].iloc[ranks], strict=True))


def render_html(run: RunResults, contents: ReportContents) -> str:
    """Render the report."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(markdown_report.TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    history = contents.history
    return environment.get_template("report.html").render(
        title=markdown_report.TITLE,
        headlines=[_to_html(markdown_report.headline(run, dataset)) for dataset in run.datasets],
        protocol=_to_html(markdown_report.protocol(run)),
        intervals={dataset: _interval_rows(run, dataset) for dataset in run.datasets},
        interval_labels={score: report_tables.short_label(score) for score in report_tables.COMPARED_SCORES},
        images=_image_rows(contents),
        image_labels=[report_tables.short_label(score) for score in IMAGE_SCORES],
        shown_count=len(contents.images),
        several_datasets=len(run.datasets) > 1,
        max_side=image_layers.MAX_SIDE,
        overlay_colours=overlays.OVERLAY_COLOURS,
        background_contrast=overlays.BACKGROUND_CONTRAST,
        curves=[_curve(history, name, title) for name, title in metric_definitions.HISTORY.items()],
        epochs=int(history["epoch"].max()),
        curve_size=CURVE_SIZE,
        figures=[_figure(run, contents, name) for name in FIGURES],
        tables={dataset: _to_html(markdown_report.dataset_section(run, dataset)) for dataset in run.datasets},
        data=_to_html(markdown_report.data_section(run)),
        params=yaml.safe_dump(run.params.model_dump(), sort_keys=False),
        versions=run.versions,
        hashes=run.hashes,
    )


def _interval_rows(run: RunResults, dataset: str) -> list[tuple[str, dict[str, dict[str, Any]]]]:
    """Return by observer, in the FOV, each score's mean and interval, and their places in the range of the score."""
    rows_of = {score: run.score_rows(dataset, "fov", score) for score in report_tables.COMPARED_SCORES}
    ranges = {score: _range(list(rows.values())) for score, rows in rows_of.items()}
    return [
        (
            metric_definitions.OBSERVERS[name],
            {score: _interval_cell(rows[name], *ranges[score]) for score, rows in rows_of.items() if name in rows},
        )
        for name in run.observers(dataset)
    ]


def _range(rows: list[SummaryRow]) -> tuple[float, float]:
    """Return the lowest and highest of means and ends of intervals."""
    return _lowest_and_highest(np.array([[row.mean, row.low, row.high] for row in rows], float))


def _lowest_and_highest(values: np.ndarray) -> tuple[float, float]:
    """Return the extremes of the defined values; NaN where none is."""
    return (np.nan, np.nan) if np.isnan(values).all() else (float(np.nanmin(values)), float(np.nanmax(values)))


def _interval_cell(row: SummaryRow, lowest: float, highest: float) -> dict[str, Any]:
    """Return a mean with its interval; `places` are per cent of the range, empty where there is no interval."""
    values = {"low": row.low, "mean": row.mean, "high": row.high}
    has_bar = not np.isnan(list(values.values())).any() and highest > lowest
    places = {name: round(100 * (value - lowest) / (highest - lowest), 1) for name, value in values.items() if has_bar}
    return {"mean": number(row.mean, 3), "interval": interval(row.low, row.high, 3), "places": places}


def _image_rows(contents: ReportContents) -> list[dict[str, Any]]:
    """Return per test image its scores, the second observer's F1 if any, and its layers where it is shown."""
    layers = {(image.dataset, image.id): image.layers for image in contents.images}
    second = rows_in_fov(contents.per_image, "second_observer").set_index(["dataset", "id"])["f1"].to_dict()
    rows = rows_in_fov(contents.per_image, "model").sort_values(["dataset", "id"]).to_dict("records")
    keys = [(row["dataset"], row["id"]) for row in rows]
    return [
        {
            "dataset": key[0],
            "id": key[1],
            "scores": [number(row[score], 3) for score in IMAGE_SCORES],
            "second_observer": number(second.get(key, np.nan), 3) if second else None,
            "layers": layers.get(key),
        }
        for key, row in zip(keys, rows, strict=True)
    ]


def _figure(run: RunResults, contents: ReportContents, name: str) -> dict[str, Any]:
    """Return a figure with its texts and, where the report states one, its result in a sentence."""
    result = markdown_report.uncertainty_section(run) if name == "error_by_uncertainty" else ""
    uri = image_layers.data_uri(contents.figures[name], "image/png")
    return {"text": FIGURES[name], "uri": uri, "result": _to_html(result)}


def _curve(history: pd.DataFrame, name: str, title: str) -> dict[str, Any]:
    """Return the learning curve of one score: points of training and validation, ends of the axis, last values."""
    table = history[["epoch", name, f"validation_{name}"]].to_numpy(float)
    lowest, highest = _lowest_and_highest(table[:, 1:])
    lines = [_points(table[:, 0], values, lowest, highest) for values in table[:, 1:].T]
    last = [number(values[-1], 3) for values in table[:, 1:].T]
    return {"title": title, "lowest": number(lowest, 3), "highest": number(highest, 3), "lines": lines, "last": last}


def _points(epochs: np.ndarray, values: np.ndarray, lowest: float, highest: float) -> list[tuple[float, float]]:
    """Return the positions of the defined values within CURVE_SIZE; y grows downwards."""
    width, height = CURVE_SIZE
    x = width * (epochs - 1) / max(epochs.max() - 1, 1)
    y = height * (highest - values) / (highest - lowest if highest > lowest else 1.0)
    return [(round(a, 1), round(b, 1)) for a, b in zip(x.tolist(), y.tolist(), strict=True) if not np.isnan(b)]


def _to_html(text: str) -> Markup:
    """Convert Markdown of the report to HTML, each table in a box that scrolls by itself; HTML in it stays text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    box = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    html = markdown.render(re.sub(r"(?<=\d) %", "\u00a0%", text)).replace("&lt;br&gt;", "<br>")  # its one tag
    return Markup(html.replace("<table>", f"{box}<table>").replace("</table>", "</table></div>"))
