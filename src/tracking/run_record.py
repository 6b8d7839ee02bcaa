"""Contents of one pipeline run, gathered from its files; independent of MLflow."""

import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from src.common import provenance
from src.evaluation import pipeline_status, result_tables
from src.evaluation.git_revisions import WORKING
from src.evaluation.pipeline_status import Lock
from src.tracking.run_tags import (
    FINGERPRINT,
    TRAINING,
    Params,
    environment_tags,
    fingerprint,
    lock_hash,
    output_hashes,
    training_hash,
)

PIPELINE_FILES = ("params.yaml", "dvc.yaml", "dvc.lock")
REPORT = "report.md"
LOGGED_TABLES = ("per_image.csv", "summary.csv")  # also as tables of MLflow, which its page shows
CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}  # subset of images: MLflow's word

Scores = dict[str, dict[str, float | None]]


class ModelRecord(NamedTuple):
    """A trained model to be logged.

    Attributes:
        path: the network (.h5).
        image: a fundus image (H, W, 3) uint8 RGB, for the input example.
        settings: the arguments of `model_service.Service`.
        registered_name: name of the registered model.
        code: the files of code that serve the model.
    """

    path: Path
    image: np.ndarray
    settings: dict[str, object]
    registered_name: str
    code: list[Path]


class InputData(NamedTuple):
    """A folder of images that the run read: its MLflow context, its data sets, its path, its hash in dvc.lock."""

    context: str
    name: str
    path: str
    digest: str


class RunPaths(NamedTuple):
    """The project folder, and in it the folders of tables, of example figures and of images, and the network file."""

    project: Path
    metrics: Path
    examples: Path
    raw: Path
    model: Path


class RunRecord(NamedTuple):
    """The contents of one run.

    Attributes:
        params: params.yaml.
        tags: hashes of data, code, machine, versions, experiment.
        scores: of scores.json and validation.json, by test set.
        training: the learning curves, a row an epoch.
        tables: those of LOGGED_TABLES, by file name.
        files: folder of the run: files and folders that go there.
        inputs: the images.
        model: the model; None where it is not logged.
        time: milliseconds since 1970.
    """

    params: Params
    tags: dict[str, str]
    scores: Scores
    training: pd.DataFrame
    tables: dict[str, pd.DataFrame]
    files: dict[str, list[Path]]
    inputs: list[InputData]
    model: ModelRecord | None
    time: int


def gather_run(paths: RunPaths, params: Params, model: ModelRecord | None) -> RunRecord:
    """Collect a run from the files of a project folder.

    `dvc.lock` may be missing, as after stages run by hand: the run then has no hashes of data.

    Raises:
        ValueError: a table is damaged; the message begins with its path.
        OSError: a file is missing.
    """
    project, metrics = paths.project, paths.metrics
    has_lock = (project / pipeline_status.LOCK).exists()
    lock = pipeline_status.read_lock(WORKING._replace(root=project)) if has_lock else Lock(stages={})
    tables = [metrics / name for name in provenance.RESULT_TABLES]
    tags = {
        **output_hashes(lock),
        "dvc.lock": lock_hash(lock),
        **environment_tags(project, metrics),
        TRAINING: training_hash(paths.model, metrics / "training.csv"),
        FINGERPRINT: fingerprint(_dependency_hashes(lock, paths), params, [*tables, *(model.code if model else [])]),
    }
    scores, training, shown = read_tables(metrics)
    raw = paths.raw.resolve().relative_to(project.resolve()).as_posix()
    return RunRecord(
        params=params,
        tags=tags,
        scores=scores,
        training=training,
        tables=shown,
        files={
            "pipeline": [project / name for name in PIPELINE_FILES if (project / name).exists()],
            "metrics": [*tables, metrics / REPORT],
            "metrics/figures": [metrics / "figures"],
            "examples": [paths.examples],
        },
        inputs=input_data(lock, raw, params["data"]),
        model=model,
        time=time.time_ns() // 1_000_000,
    )


def read_tables(metrics: Path) -> tuple[Scores, pd.DataFrame, dict[str, pd.DataFrame]]:
    """Read scores, learning curves and LOGGED_TABLES from the folder `metrics`; errors as `gather_run`."""
    scores = [result_tables.read_scores(metrics / name) for name in ("scores.json", "validation.json")]
    tables = {name: result_tables.read(metrics / name) for name in LOGGED_TABLES}
    return scores[0] | scores[1], result_tables.read(metrics / "training.csv"), tables


def flatten(nested: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Join nested keys by dots.

    >>> flatten({"loss": {"gamma": 2.0, "focal_weight": None}, "seed": 1})
    {'loss.gamma': 2.0, 'loss.focal_weight': None, 'seed': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def input_data(lock: Lock, raw: str, data: Params) -> list[InputData]:
    """Return the folders of images below `raw` whose hashes dvc.lock has; `data` is that section of params.yaml.

    >>> lock = {"stages": {"download": {"outs": [{"path": "raw/test", "md5": "a1.dir"}]}}}
    >>> input_data(Lock.model_validate(lock), "raw", {"train": ["drive"], "test": ["drive", "stare"]})
    [InputData(context='testing', name='drive+stare', path='raw/test', digest='a1')]
    """
    known, found = output_hashes(lock), []
    for subset, context in CONTEXTS.items():
        path, names = f"{raw}/{subset}", data["test" if subset == "test" else "train"]
        if f"md5.{path}" in known and (subset != "validation" or data.get("validation_fraction") != 0):
            found.append(InputData(context, "+".join(names), path, known[f"md5.{path}"].removesuffix(".dir")))
    return found


def _dependency_hashes(lock: Lock, paths: RunPaths) -> dict[str, str]:
    """Return the output hashes that stage record depends on: what else changes does not run it again."""
    dependencies = [path.resolve() for path in (paths.metrics, paths.examples, paths.model, paths.raw / "test")]

    def is_dependency(tag: str) -> bool:
        out = (paths.project / tag.removeprefix("md5.")).resolve()
        return any(out.is_relative_to(path) for path in dependencies)

    return {tag: md5 for tag, md5 in output_hashes(lock).items() if is_dependency(tag)}
