"""The page of a run: one HTML file that holds all it shows and asks no server for anything.

It says what the report says, and shows the test images. It holds no date: equal files, equal bytes.
"""

from pathlib import Path
from typing import NamedTuple

import jinja2
import numpy as np
import pandas as pd
import yaml
from markdown_it import MarkdownIt
from markupsafe import Markup

from src import layers, pictures, report, reported, tables
from src.markdown import interval, number

FOLDER = Path(__file__).parent / "pages"
MOST = 60  # images shown; of more, the page would be too large to open
SCORES = report.DIFFERENCES  # of the table with intervals
OF_AN_IMAGE = ("f1", "mcc", "auc_roc", "auc_pr", "precision", "recall", "cldice", "recall_thin")
PLOT = (240.0, 110.0)  # width and height of a learning curve, in units of its drawing
FIGURES = [name for name in report.FIGURES if name != "learning_curves"]  # these are drawn anew, for narrow screens


class Eye(NamedTuple):
    """A test image that is shown."""

    dataset: str
    id: str
    pictures: layers.Layers


class Contents(NamedTuple):
    """What the page shows beside the report: tables of `metrics/`, figures as PNG by name, test images."""

    per_image: pd.DataFrame
    history: pd.DataFrame
    figures: dict[str, bytes]
    eyes: list[Eye]


def chosen(per_image: pd.DataFrame) -> list[tuple[str, str]]:
    """Data set and id of the images to show: all, or MOST that are spread evenly over the ranking by F1."""
    table = _of_model(per_image).sort_values(["f1", "dataset", "id"], na_position="first")
    ranks = np.unique(np.linspace(0, len(table) - 1, min(MOST, len(table))).round().astype(int))
    return sorted(zip(table["dataset"].iloc[ranks], table["id"].iloc[ranks], strict=True))


def write(results: report.Results, contents: Contents) -> str:
    """The page as HTML."""
    places = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(
        loader=places, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    datasets = tables.test_sets(results.scores)
    return environment.get_template("report.html").render(
        title=report.TITLE,
        headlines=[_html(report.headline(results, dataset)) for dataset in datasets],
        notes=_html(report.notes(results)),
        scores={dataset: _scores(results.summary, dataset) for dataset in datasets},
        score_names={score: reported.SCORES[score].label for score in SCORES},
        images=_images(contents),
        image_scores={score: reported.SCORES[score].label for score in OF_AN_IMAGE},
        shown=len(contents.eyes),
        several=len(datasets) > 1,
        largest=layers.LARGEST,
        outcomes={**pictures.OUTCOMES, "outside the field of view": pictures.OUTSIDE},
        pale=pictures.PALE,
        curves=[_curve(contents.history, name, title) for name, title in reported.HISTORY.items()],
        epochs=int(contents.history["epoch"].max()),
        size=PLOT,
        doubts=_html("\n\n".join(report.doubts(results, datasets))),
        figures=[(*report.FIGURES[name][:2], layers.data_uri(contents.figures[name], "image/png")) for name in FIGURES],
        chapters={dataset: _html("\n\n".join(report.chapter(results, dataset))) for dataset in datasets},
        data=_html("\n\n".join(report.data(results.audit))),
        params=yaml.safe_dump(results.params, sort_keys=False),
        versions=results.versions,
        hashes=results.hashes,
    )


def _scores(summary: pd.DataFrame, dataset: str) -> list[tuple[str, dict]]:
    """By observer: each score's mean as text, its interval as text, and where both lie in the column's range."""
    table = summary[(summary["dataset"] == dataset) & (summary["region"] == "fov") & summary["score"].isin(SCORES)]
    ranges = {score: _range(rows) for score, rows in table.groupby("score")}
    rows = {(row.observer, row.score): row for row in table.itertuples(index=False)}
    observers = [name for name in reported.OBSERVERS if (name, "f1") in rows]
    return [
        (reported.OBSERVERS[name], {s: _cell(rows[name, s], *ranges[s]) for s in SCORES if (name, s) in rows})
        for name in observers
    ]


def _range(rows: pd.DataFrame) -> tuple[float, float]:
    """The least and the largest of means and ends of intervals."""
    values = rows[["mean", "low", "high"]].to_numpy(float)
    return (np.nan, np.nan) if np.isnan(values).all() else (float(np.nanmin(values)), float(np.nanmax(values)))


def _cell(row: NamedTuple, least: float, most: float) -> dict:
    """A mean with its interval; `low`, `dot` and `high` are per cent of the range, None where there is no interval."""
    shares = {"low": row.low, "dot": row.mean, "high": row.high}
    drawn = not np.isnan(list(shares.values())).any() and most > least
    places = {name: round(100 * (value - least) / (most - least), 1) for name, value in shares.items()} if drawn else {}
    return {"mean": number(row.mean, 3), "interval": interval(row.low, row.high, 3), "places": places}


def _images(contents: Contents) -> list[dict]:
    """A row a test image: its scores, the second observer's F1 where there is one, its pictures where it is shown."""
    shown = {(eye.dataset, eye.id): eye.pictures for eye in contents.eyes}
    second = _of_observer(contents.per_image, "second_observer").set_index(["dataset", "id"])["f1"].to_dict()
    rows = _of_model(contents.per_image).sort_values(["dataset", "id"]).to_dict("records")
    keys = [(row["dataset"], row["id"]) for row in rows]
    return [
        {
            "dataset": key[0],
            "id": key[1],
            "scores": [number(row[score], 3) for score in OF_AN_IMAGE],
            "second": number(second.get(key, np.nan), 3) if second else None,
            "pictures": shown.get(key),
        }
        for key, row in zip(keys, rows, strict=True)
    ]


def _curve(history: pd.DataFrame, name: str, title: str) -> dict:
    """One score by epoch: the points of its lines, and the ends of its axis."""
    table = history[["epoch", name, f"validation_{name}"]].to_numpy(float)
    least, most = float(np.nanmin(table[:, 1:])), float(np.nanmax(table[:, 1:]))
    lines = [_points(table[:, 0], values, least, most) for values in table[:, 1:].T]
    last = [number(values[-1], 3) for values in table[:, 1:].T]
    return {"title": title, "least": number(least, 3), "most": number(most, 3), "lines": lines, "last": last}


def _points(epochs: np.ndarray, values: np.ndarray, least: float, most: float) -> list[tuple[float, float]]:
    """The places of the values that are defined, within PLOT; y grows downwards."""
    x = PLOT[0] * (epochs - 1) / max(epochs.max() - 1, 1)
    y = PLOT[1] * (most - values) / (most - least if most > least else 1.0)
    return [(round(a, 1), round(b, 1)) for a, b in zip(x.tolist(), y.tolist(), strict=True) if not np.isnan(b)]


def _html(text: str) -> Markup:
    """Markdown of the report as HTML, its tables in boxes that scroll by themselves; HTML in it stays text."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    box = '<div class="scroll" tabindex="0" role="region" aria-label="table">'
    html = markdown.render(text.replace("95 %", "95\u00a0%")).replace("&lt;br&gt;", "<br>")  # its one tag
    return Markup(html.replace("<table>", f"{box}<table>").replace("</table>", "</table></div>"))


def _of_model(per_image: pd.DataFrame) -> pd.DataFrame:
    return _of_observer(per_image, "model")


def _of_observer(per_image: pd.DataFrame, observer: str) -> pd.DataFrame:
    return per_image[(per_image["observer"] == observer) & (per_image["region"] == "fov")]
