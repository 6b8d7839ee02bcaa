"""Input of the regression gate: the tables that a run committed, and the dvc.lock that says how they were made."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd

from src.evaluation import pipeline_status, result_tables
from src.evaluation.git_revisions import FileTree
from src.evaluation.pipeline_status import LOCK, Lock
from src.params import RENAMED

PER_IMAGE, SUMMARY = Path("metrics/per_image.csv"), Path("metrics/summary.csv")
TABLES = (PER_IMAGE, SUMMARY)
TEST_DATA = "data/raw/test"  # images and ground truth of all test sets
LATER_KEYS: dict[str, object] = {  # values before they existed
    "logit_adjustment": False,
    "hysteresis_threshold": None,
    "thin_vessel_extension": 0.0,
}


class CommittedRun(NamedTuple):
    """What one side committed: per_image.csv, summary.csv and dvc.lock."""

    name: str
    per_image: pd.DataFrame
    summary: pd.DataFrame
    lock: Lock

    def evaluate_param(self, key: str) -> object:
        """Return the parameter of section `evaluate` that the scores were made with, in earlier commits too.

        Raises:
            ValueError: dvc.lock does not tell.
        """
        section = self.lock.params(SUMMARY.as_posix(), "evaluate")
        known = LATER_KEYS | section if isinstance(section, dict) else {}
        earlier = (old.partition(".")[2] for old, new in RENAMED.items() if new == f"evaluate.{key}")
        for name in (key, *earlier):
            if name in known:
                return known[name]
        raise ValueError(f"{self.name}: expected evaluate.{key} in {LOCK} for {SUMMARY}, found none")

    def pooled(self, dataset: str, region: str, score: str) -> float | None:
        """Return a score of the model pooled over pixels; NaN where it is undefined, None where it is missing."""
        scores = result_tables.pooled_scores(self.summary, dataset, region)
        return scores.get("model", {}).get(score)


def read_run(tree: FileTree) -> CommittedRun:
    """Read what a tree committed; tables of earlier versions are read, too.

    Raises:
        ValueError: a file is missing, or is no such file.
    """
    per_image, summary = (result_tables.parse(tree.text(path), tree.label(path), path.name) for path in TABLES)
    return CommittedRun(tree.name, per_image, summary, pipeline_status.read_lock(tree))
