"""Write the report of a run, which GitHub shows as it is, and the page of a run, which shows the photographs, too."""

import json
import sys
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from src import files, layers, page, pictures, provenance, report, samples
from src.cli import run
from src.params import Params


def main(
    metrics: Path, model: Path, test: Path, predictions: Path, report_file: Path, page_file: Path, params: Params
) -> None:
    """Turn the tables in `metrics` into the report `report_file`, and with the test images into `page_file`.

    Both name the bytes that they are made of.
    """
    names = "summary", "differences", "audit", "doubt"
    summary, differences, audit, doubt = (pd.read_csv(metrics / f"{name}.csv") for name in names)
    results = report.Results(
        scores=json.loads((metrics / "scores.json").read_text(encoding="utf-8")),
        summary=summary,
        differences=differences,
        audit=audit,
        doubt=doubt,
        params=params.model_dump(),
        versions=provenance.versions(),
        hashes={
            path.as_posix(): provenance.sha256(path)
            for path in (model, *(metrics / name for name in provenance.TABLES))
        },
    )
    files.write_text(report_file, report.write(results))
    per_image = pd.read_csv(metrics / "per_image.csv", dtype={"id": str, "group": str})
    contents = page.Contents(
        per_image=per_image,
        history=pd.read_csv(metrics / "training.csv"),
        figures={name: (metrics / "figures" / f"{name}.png").read_bytes() for name in page.FIGURES},
        eyes=_eyes(per_image, test, predictions, results.scores["threshold"]),
    )
    files.write_text(page_file, page.write(results, contents))


def _eyes(per_image: pd.DataFrame, test: Path, predictions: Path, threshold: float) -> list[page.Eye]:
    """The test images that the page shows."""
    found = {(sample.dataset, sample.id): sample for sample in samples.find(test)}
    return [
        page.Eye(dataset, id_, layers.of(pictures.read(found[dataset, id_], predictions, threshold)))
        for dataset, id_ in tqdm(page.chosen(per_image), "report", unit="photograph")
    ]


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:7]), params))
