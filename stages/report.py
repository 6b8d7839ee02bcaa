"""Write the report of a run, which GitHub shows as it is, and the page of a run, which shows the photographs, too."""

import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src import files, layers, page, pictures, provenance, report, reported, samples, tables
from src.cli import run
from src.params import Params


def main(
    metrics: Path, model: Path, test: Path, predictions: Path, report_file: Path, page_file: Path, params: Params
) -> None:
    """Turn the tables in `metrics` into the report `report_file`, and with the test images into `page_file`.

    Both name the bytes that they are made of.
    """
    scores = tables.read_scores(metrics / "scores.json")
    per_image = tables.read_per_image(metrics / "per_image.csv", scores, page.OF_AN_IMAGE)
    results = report.Results(
        scores=scores,
        summary=tables.read_summary(metrics / "summary.csv", scores),
        differences=tables.read_differences(metrics / "differences.csv", scores),
        audit=tables.read(metrics / "audit.csv"),
        doubt=tables.read_of_sets(metrics / "doubt.csv", scores),
        params=params.model_dump(),
        versions=provenance.versions(),
        hashes={
            path.as_posix(): provenance.sha256(path)
            for path in (model, *(metrics / name for name in provenance.TABLES))
        },
    )
    files.write_text(report_file, report.write(results))
    contents = page.Contents(
        per_image=per_image,
        history=tables.read(metrics / "training.csv", reported.HISTORY_COLUMNS),
        figures={name: (metrics / "figures" / f"{name}.png").read_bytes() for name in page.FIGURES},
        eyes=_eyes(per_image, test, predictions, results.scores["threshold"]),
    )
    files.write_text(page_file, page.write(results, contents))


def _eyes(per_image: pd.DataFrame, test: Path, predictions: Path, threshold: float) -> list[page.Eye]:
    """The test images that the page shows."""
    found = samples.named(test, page.chosen(per_image))
    return [
        page.Eye(*name, layers.of(pictures.read(sample, predictions, threshold)))
        for name, sample in tqdm(found.items(), "report", unit="photograph")
    ]


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:7]), params))
