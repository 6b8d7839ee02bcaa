"""A finished run, handed to MLflow whole: params, data, code, curves, scores, pictures, model. Only importer of mlflow.

The store is that of MLFLOW_TRACKING_URI, else `mlflow.db` and `mlruns/` in the project folder; an experiment of DVC,
which runs in a temporary copy of the project, writes to the same place. The model is imported (with TensorFlow)
only when it is to be logged.
"""

import contextlib
import hashlib
import json
import logging
import math
import os
import platform
import sqlite3
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
import yaml
from filelock import FileLock
from sqlalchemy.exc import SQLAlchemyError

from src import provenance

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a server that is down is reported after seconds, not minutes
    "GIT_PYTHON_REFRESH": "quiet",
}
for _name, _value in QUIET.items():  # read when mlflow is imported
    os.environ.setdefault(_name, _value)

import mlflow  # noqa: E402
from mlflow.entities import Experiment, Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.types import Schema, TensorSpec  # noqa: E402

PIPELINE = ("params.yaml", "dvc.yaml", "dvc.lock")
REPORT = "report.md"
RECORD = "record"  # the stage that calls this; its own entry in dvc.lock is that of the run before
FINGERPRINT = "fingerprint"
MODEL_PACKAGES = ("tensorflow", "tf_keras", "segmentation-models", "numpy")
EXAMPLE_SIZE = 64  # pixels, side of the input example of a network that takes any size
BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # at most so many a call, says MLflow
LOCK_SECONDS = 600  # how long to wait for another process that records

logger = logging.getLogger(__name__)


class Model(NamedTuple):
    """A model file (.h5), and a prepared photograph, (h, w, 3) uint8, from whose middle the input example is cut."""

    path: Path
    image: np.ndarray


class Run(NamedTuple):
    """What is known of one run. `files` maps a folder of the run to the files and folders that go there."""

    params: dict
    tags: dict[str, str]
    scores: dict
    training: pd.DataFrame
    per_image: pd.DataFrame
    files: dict[str, list[Path]]
    model: Model | None


def gather(project: Path, metrics: Path, examples: Path, params: dict, model: Model | None) -> Run:
    """Collect a run from the files of a project folder; `metrics` and `examples` are folders in it.

    `dvc.lock` may be missing (stages run by hand): the run then has no hashes of data.
    """
    lock = _lock(project / "dvc.lock")
    tags = {**hashes(lock), **_code(project, metrics), **_surroundings()}
    tables = [metrics / name for name in provenance.TABLES]
    tags[FINGERPRINT] = fingerprint(lock, params, tables)
    pipeline = [project / name for name in PIPELINE if (project / name).exists()]
    return Run(
        params,
        tags,
        json.loads((metrics / "scores.json").read_text(encoding="utf-8")),
        pd.read_csv(metrics / "training.csv"),
        pd.read_csv(metrics / "per_image.csv", dtype={"id": str, "group": str}),
        {
            "pipeline": pipeline,
            "metrics": [*tables, metrics / REPORT],
            "metrics/figures": [metrics / "figures"],
            "examples": [examples],
        },
        model,
    )


def record(run: Run, experiment: str, root: Path) -> str:
    """Log the run to an experiment; returns its run id. The same state twice is one run.

    Args:
        run: what to log.
        experiment: name of the MLflow experiment, made where it is missing.
        root: the project folder; the store lies there unless MLFLOW_TRACKING_URI names another.

    Raises:
        OSError: the store cannot be reached or refuses the run.
        ValueError: the experiment has been deleted in MLflow.
    """
    uri = store(root)
    with _lock_of(uri, root), _tracking_to(uri):
        try:
            _check(uri)
            place = _experiment(experiment, uri, root)
            known = _finished(place, run.tags[FINGERPRINT])
            if known:
                logger.warning("this state is recorded already, as run %s of experiment %s", known, experiment)
            return known or _log(run, place)
        except (MlflowException, SQLAlchemyError, sqlite3.Error) as error:
            reason = str(error).strip().splitlines()[0]
            raise OSError(f"{uri}: expected an MLflow store that takes the run, got: {reason}") from error


def store(root: Path) -> str:
    """The tracking URI: MLFLOW_TRACKING_URI, else the SQLite file `mlflow.db` in the project folder `root`.

    A relative SQLite path is taken from `root`, as the current folder of a DVC experiment does not last.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    path = _sqlite_path(uri)
    return uri if path is None else f"sqlite:///{root.resolve() / path}"


def flatten(nested: dict, prefix: str = "") -> dict[str, object]:
    """Nested keys joined by dots.

    >>> flatten({"loss": {"gamma": 2.0, "balance": None}, "seed": 1})
    {'loss.gamma': 2.0, 'loss.balance': None, 'seed': 1}
    """
    flat: dict[str, object] = {}
    for key, value in nested.items():
        flat |= flatten(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def hashes(lock: dict) -> dict[str, str]:
    """Tag `md5.<path>` of each output of each stage in the content of a dvc.lock.

    >>> hashes({"stages": {"train": {"outs": [{"path": "data/model", "hash": "md5", "md5": "a1.dir"}]}}})
    {'md5.data/model': 'a1.dir'}
    """
    outs = [out for stage in lock.get("stages", {}).values() for out in stage.get("outs", [])]
    return {f"md5.{out['path']}": str(out["md5"]) for out in outs if "md5" in out}


def fingerprint(lock: dict, params: dict, tables: list[Path]) -> str:
    """SHA-256 of the locked stages, the params and the bytes of the tables: equal for equal states."""
    stages = {name: stage for name, stage in lock.get("stages", {}).items() if name != RECORD}
    digest = hashlib.sha256(json.dumps([stages, params], sort_keys=True, default=str).encode())
    for table in tables:
        digest.update(hashlib.sha256(table.read_bytes()).digest())
    return digest.hexdigest()


def _lock(path: Path) -> dict:
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


def _code(project: Path, metrics: Path) -> dict[str, str]:
    """Tags of the git commit, and whether files differ from it that are neither params nor made by the pipeline."""
    commit = _git(project, "rev-parse", "HEAD")
    if commit is None:
        return {}
    made = ["params.yaml", "dvc.lock", str(metrics.resolve())]
    changed = _git(project, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in made))
    return {"git.commit": commit} | ({} if changed is None else {"git.dirty": str(bool(changed)).lower()})


def _git(project: Path, *arguments: str) -> str | None:
    """What git says, None where there is no git, no repository or no commit."""
    command = ["git", "-C", str(project), *arguments]
    try:
        return subprocess.run(command, capture_output=True, check=True, encoding="utf-8").stdout.strip()
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None


def _surroundings() -> dict[str, str]:
    """Tags of the machine, of the versions of packages, and of the DVC experiment where there is one."""
    machine = {"machine": platform.node(), "platform": platform.platform(), "cpus": str(os.cpu_count())}
    versions = {f"version.{name}": found for name, found in provenance.versions().items()}
    names = ("DVC_EXP_NAME", "DVC_EXP_BASELINE_REV")
    experiment = {name: os.environ[name] for name in names if os.environ.get(name)}
    return {**machine, **versions, **experiment}


@contextlib.contextmanager
def _tracking_to(uri: str) -> Iterator[None]:
    """MLflow's global tracking URI for the length of a block; MLflow changes the environment with it."""
    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def _sqlite_path(uri: str) -> str | None:
    return uri.removeprefix("sqlite:///") if uri.startswith("sqlite:///") else None


def _lock_of(uri: str, root: Path) -> FileLock:
    """One process at a time: two that make a new database leave it broken."""
    database = Path(_sqlite_path(uri) or root / "mlflow.db")
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(f"{database}.lock", timeout=LOCK_SECONDS)


def _check(uri: str) -> None:
    """Raise sqlite3.Error at once for a database that cannot be opened; MLflow would try for minutes."""
    path = _sqlite_path(uri)
    if path is not None:
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA schema_version")


def _experiment(name: str, uri: str, root: Path) -> Experiment:
    """The experiment of that name; a new one keeps its files at the project folder unless a server keeps them."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    place = mlflow.get_experiment_by_name(name)
    if place is None:
        location = None if uri.startswith("http") else (root.resolve() / "mlruns").as_uri()
        place = mlflow.get_experiment(mlflow.create_experiment(name, artifact_location=location))
    if place.lifecycle_stage != "active":
        raise ValueError(f"record.experiment: expected one that is not deleted in MLflow, got {name!r}")
    return place


def _finished(place: Experiment, state: str) -> str | None:
    """The id of a finished run of that state."""
    found = mlflow.MlflowClient().search_runs(
        [place.experiment_id],
        f"tags.{FINGERPRINT} = '{state}' and attributes.status = 'FINISHED'",
        run_view_type=ViewType.ACTIVE_ONLY,
        max_results=1,
    )
    return found[0].info.run_id if found else None


def _log(run: Run, place: Experiment) -> str:
    """Log everything as one new run; it counts as finished only when all is there."""
    name = run.tags.get("DVC_EXP_NAME")
    with mlflow.start_run(experiment_id=place.experiment_id, run_name=name) as active:
        run_id = active.info.run_id
        _log_batches(run_id, "tags", [RunTag(key, value) for key, value in run.tags.items()])
        _log_batches(run_id, "params", [Param(key, _text(value)) for key, value in flatten(run.params).items()])
        _log_batches(run_id, "metrics", _metrics(run, active.info.start_time))
        mlflow.log_table(run.per_image, "per_image.json")
        for folder, paths in run.files.items():
            for path in paths:
                (mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact)(str(path), folder)
        if run.model is not None:
            _log_model(run.model)
    return run_id


def _log_batches(run_id: str, kind: str, items: list) -> None:
    client = mlflow.MlflowClient()
    for start in range(0, len(items), BATCH[kind]):
        client.log_batch(run_id, **{kind: items[start : start + BATCH[kind]]})


def _text(value: object) -> str:
    """A param as people write it in params.yaml, lists joined by commas."""
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _metrics(run: Run, now: int) -> list[Metric]:
    """Final scores by flat name, and `training.<column>` by epoch; undefined ones are left out."""
    final = [(key, value, 0) for key, value in flatten(run.scores).items()]
    curves = run.training.set_index("epoch")
    for column in curves:
        final += [(f"training.{column}", value, int(epoch)) for epoch, value in curves[column].items()]
    return [Metric(key, float(v), now, step) for key, v, step in final if v is not None and math.isfinite(v)]


def _log_model(model: Model) -> None:
    """Log the network with signature, example and requirements.

    It is legacy Keras: whoever loads it sets TF_USE_LEGACY_KERAS=1 before the start of Python.
    """
    from src.models import load  # imports TensorFlow, which takes seconds

    network = load(model.path)
    specs = [
        Schema([TensorSpec(np.dtype(np.float32), [-1 if side is None else side for side in shape])])
        for shape in (network.input_shape, network.output_shape)
    ]
    mlflow.tensorflow.log_model(
        network,
        name="model",
        signature=ModelSignature(*specs),
        input_example=input_example(model.image, network.input_shape),
        pip_requirements=[f"{name}=={version(name)}" for name in MODEL_PACKAGES],
        metadata={"environment": "TF_USE_LEGACY_KERAS=1 SM_FRAMEWORK=tf.keras"},
    )


def input_example(image: np.ndarray, input_shape: tuple[int | None, ...]) -> np.ndarray:
    """The middle of an (h, w, 3) uint8 image as network input, (1, H, W, 3) float32; edges repeat in a small one."""
    height, width = (side or EXAMPLE_SIZE for side in input_shape[1:3])
    middle = (image.shape[1] - 1) / 2, (image.shape[0] - 1) / 2
    return cv2.getRectSubPix(image, (width, height), middle)[None].astype(np.float32)
