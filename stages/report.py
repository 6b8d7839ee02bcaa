"""Write the report of a run: Markdown, which GitHub shows, and one HTML file, which shows the test images, too."""

from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src.common import atomic_io, hashing, provenance
from src.common.operating_point import read_threshold
from src.data import samples
from src.evaluation import result_tables
from src.metrics import metric_definitions
from src.params import Params
from src.reporting import html_report, image_layers, markdown_report, overlays
from src.reporting.run_results import RunResults
from src.stage_runner import run_stage


def main(metrics: Path, model: Path, test: Path, predictions: Path, report: Path, page: Path, params: Params) -> None:
    """Turn the tables in `metrics` into the Markdown file `report`, and with the test images into the HTML file `page`.

    Both name the files that they are made of, with their SHA-256.
    """
    summary = result_tables.read_summary(metrics / "summary.csv")
    per_image = result_tables.read_per_image(metrics / "per_image.csv", summary, html_report.IMAGE_SCORES)
    files = (model, *(metrics / name for name in provenance.RESULT_TABLES))
    run = RunResults(
        threshold=read_threshold(metrics / "validation.json"),
        summary=summary,
        differences=result_tables.read_differences(metrics / "differences.csv", summary),
        audit=result_tables.read(metrics / "audit.csv"),
        uncertainty=result_tables.read_by_dataset(metrics / "uncertainty.csv", summary),
        params=params,
        versions=provenance.versions(),
        hashes={path.as_posix(): hashing.sha256(path) for path in files},
    )
    atomic_io.write_text(report, markdown_report.render_markdown(run))
    contents = html_report.ReportContents(
        per_image=per_image,
        history=result_tables.read(metrics / "training.csv", metric_definitions.HISTORY_COLUMNS),
        figures={name: (metrics / "figures" / f"{name}.png").read_bytes() for name in html_report.FIGURES},
        images=_encode_images(per_image, test, predictions, run.threshold),
    )
    atomic_io.write_text(page, html_report.render_html(run, contents))


def _encode_images(
    per_image: pd.DataFrame, test: Path, predictions: Path, threshold: float
) -> list[html_report.ReportImage]:
    """Encode the test images that the HTML report shows."""
    found = samples.find_by_id(test, html_report.select_images(per_image))
    return [
        html_report.ReportImage(*name, image_layers.encode_layers(overlays.read(sample, predictions, threshold)))
        for name, sample in tqdm(found.items(), "report", unit="image")
    ]


if __name__ == "__main__":
    run_stage(main, lambda params: {"params": params})
