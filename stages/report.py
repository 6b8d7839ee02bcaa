"""Write the report of a run, which GitHub shows as it is."""

import json
import sys
from pathlib import Path

import pandas as pd

from src import files, provenance, report
from src.cli import run
from src.params import Params


def main(metrics: Path, model: Path, out: Path, params: Params) -> None:
    """Turn the tables in `metrics` into the report `out`, which names the bytes that it is made of."""
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
    files.write_text(out, report.write(results))


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:4]), params))
