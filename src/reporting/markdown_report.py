"""The report of a run as Markdown, which GitHub shows; its text stands in `templates/*.md`.

It is made of the tables of `metrics/` alone and holds no date: equal tables, parameters and versions, equal bytes.
"""

import math
from functools import cache
from pathlib import Path

import jinja2
import yaml

from src.common import markdown
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.metrics import metric_definitions
from src.reporting import report_tables
from src.reporting.figure_texts import FIGURES
from src.reporting.run_results import DifferenceRow, RunResults, SummaryRow

TEMPLATES = Path(__file__).parent / "templates"
TITLE = "Retinal vessel segmentation: report of the run"
HEADLINE_SCORES = ("f1", "auc_pr", "cldice")
NO_FILTERS = ("model", "model_at_half", "second_observer")
HIGH_UNCERTAINTY = 0.1  # the end of a class of `uncertainty.csv`


def render_markdown(run: RunResults) -> str:
    """Render the whole report."""
    text = _render(
        "report.md",
        title=TITLE,
        headlines=[headline(run, dataset) for dataset in run.datasets],
        protocol=protocol(run),
        datasets={dataset: dataset_section(run, dataset) for dataset in run.datasets},
        data=data_section(run),
        figures=[(name, text.title, figure_caption(run, name)) for name, text in FIGURES.items()],
        uncertainty=uncertainty_section(run),
        params=yaml.safe_dump(run.params.model_dump(), sort_keys=False),
        versions=markdown.table(["package", "version"], run.versions.items()),
        hashes=markdown.table(["file", "SHA-256"], ([f"`{name}`", f"`{sha}`"] for name, sha in run.hashes.items())),
    )
    return text + "\n"


def headline(run: RunResults, dataset: str) -> str:
    """Render the main result on one test set: scores with intervals, region, reduction, threshold, comparisons."""
    rows = {score: run.score_rows(dataset, "fov", score) for score in HEADLINE_SCORES}
    f1, of_model = rows["f1"], {score: of["model"] for score, of in rows.items() if "model" in of}
    return _render(
        "headline.md",
        images=_count_images(run, dataset),
        dataset=dataset,
        scores={report_tables.short_label(score): _with_interval(row) for score, row in of_model.items()},
        threshold=threshold_rule(run),
        second_observer=_with_interval(f1["second_observer"]) if "second_observer" in f1 else None,
        difference=run.difference_rows(dataset, "f1").get("second_observer"),
        filters={
            metric_definitions.OBSERVERS[name]: markdown.number(row.mean)
            for name, row in f1.items()
            if name not in NO_FILTERS
        },
    )


def protocol(run: RunResults) -> str:
    """Render what a reader should know of ground truth, intervals and units."""
    thin, thick = run.params.evaluate.width_limits
    resamples = run.params.evaluate.bootstrap_resamples
    return _render("protocol.md", resamples=resamples, thin=thin, thick=thick, diameter=REFERENCE_FOV_DIAMETER)


def dataset_section(run: RunResults, dataset: str) -> str:
    """Render all tables of one test set with their captions."""
    return _render(
        "dataset.md",
        where=f"`{dataset}`, {_count_images(run, dataset)}",
        rules=_threshold_rules(run, run.observers(dataset)),
        loss=run.params.loss.name,
        pooled_fov=report_tables.pooled_table(run, dataset, "fov", report_tables.POOLED_SCORES),
        pooled_full_image=report_tables.pooled_table(run, dataset, "full_image", report_tables.FULL_IMAGE_SCORES),
        means=report_tables.mean_table(run, dataset),
        differences=report_tables.difference_table(run, dataset),
    )


def data_section(run: RunResults) -> str:
    """Render the table of images and patients with its caption."""
    return _render("data.md", table=report_tables.data_table(run.audit))


def uncertainty_section(run: RunResults) -> str:
    """Render a sentence per test set on errors where uncertainty is high; empty without test-time augmentation."""
    sentences = []
    for dataset, table in run.uncertainty.groupby("dataset", sort=False):
        high = table["uncertainty_up_to"] > HIGH_UNCERTAINTY
        (pixels, errors), (rest, errors_of_rest) = (table[part][["pixels", "errors"]].sum() for part in (high, ~high))
        if pixels + rest:
            fractions = {
                "of_fov": pixels / (pixels + rest),
                "of_high": errors / pixels if pixels else math.nan,
                "of_rest": errors_of_rest / rest if rest else math.nan,
            }
            percent = {
                name: "-" if math.isnan(value) else f"{markdown.number(100 * value, 1)} %"
                for name, value in fractions.items()
            }
            sentences.append(_render("uncertainty.md", dataset=dataset, limit=HIGH_UNCERTAINTY, **percent))
    return "\n\n".join(sentences)


def figure_caption(run: RunResults, name: str) -> str:
    """Return what a figure shows of how many images, what to look for, and the thresholds behind it."""
    text = FIGURES[name]
    observers = {observer for dataset in run.datasets for observer in run.observers(dataset)}
    rules = {
        "all": _threshold_rules(run, observers),
        "model": _threshold_rules(run, {"model"}),
        "half": "Threshold: 0.5.",
        "none": "No threshold.",
    }
    counts = ", ".join(f"`{dataset}` {_count_images(run, dataset)}" for dataset in run.datasets)
    if name == "learning_curves":
        images = run.audit.groupby("subset")["images"].sum()
        counts = f"{images.get('train', 0)} training images and {images.get('validation', 0)} validation images"
    return f"{text.look_for} {counts}: {text.shows}. {rules[text.thresholds]}"


def threshold_rule(run: RunResults) -> str:
    """Return the model's threshold and how it was chosen."""
    chosen = "best F1 on the validation images, mean over data sets"
    return f"{markdown.number(run.threshold)} ({chosen if run.params.evaluate.threshold is None else 'given'})"


def _threshold_rules(run: RunResults, observers: list[str] | set[str]) -> str:
    """Return how the thresholds of the model, and of the filters among `observers`, were chosen."""
    filters = ", filters by best pooled F1 on the training images" if set(observers) - set(NO_FILTERS) else ""
    return f"Thresholds: model {threshold_rule(run)}{filters}."


def _count_images(run: RunResults, dataset: str) -> str:
    """Return how many images of how many patients a test set has."""
    images, patients = run.image_count(dataset), run.patient_count(dataset)
    return f"{images} test {'image' if images == 1 else 'images'} of {patients} {_patients(patients)}"


def _patients(count: int) -> str:
    return "patient" if count == 1 else "patients"


def _with_interval(row: SummaryRow | DifferenceRow, sign: bool = False) -> str:
    """Return a mean with its interval, for a sentence."""
    ends = markdown.interval(row.low, row.high, sign=sign)
    return f"{markdown.number(row.mean, sign=sign)} ({'no interval' if ends == '-' else f'95 % interval {ends}'})"


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # Markdown; the HTML report escapes what it shows
    )
    environment.filters["with_interval"] = _with_interval
    return environment


def _render(template: str, **values: object) -> str:
    return _environment().get_template(template).render(**values)
