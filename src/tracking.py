"""Runs handed to MLflow: params, data, code, curves, scores, pictures, model.

A run is recorded whole when all stages have run; it completes the run that `open_run` opened for its training to be
watched, where there is one.
"""

import contextlib
import json
import logging
import math
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from src import files, handover, logged_model, versions
from src.quiet import (
    DATABASE_ENGINES,
    Experiment,
    LocalArtifactDatasetSource,
    MetaDataset,
    Metric,
    MlflowException,
    Param,
    RunTag,
    SystemMetricsMonitor,
    ViewType,
    mlflow,
    resolve_tags,
)
from src.runs import FINGERPRINT, TRAINING, Input, Run, flatten
from src.stores import Refused, held, shown, sqlite_path, store

STAGE = "stage"  # tag: the last stage that the run has been told of
WATCHED = ("model", "loss", "train")  # sections of the params that cannot change without another training
RUN_NAME = "DVC_EXP_NAME"
GONE = "RESOURCE_DOES_NOT_EXIST"
BATCH = {"metrics": 1000, "params": 100, "tags": 100}  # at most so many a call, says MLflow

logger = logging.getLogger(__name__)
_ONE_URI = threading.RLock()


def record(run: Run, experiment: str, root: Path) -> str:
    """Log the run to an experiment and register its model; returns its run id. The same state twice is one run.

    Args:
        run: what to log.
        experiment: name of the MLflow experiment, made where it is missing.
        root: the project folder; the store lies there unless MLFLOW_TRACKING_URI names another.

    Raises:
        Refused: the store cannot be reached or refuses the run.
    """
    uri = store(root)
    with _refusing(uri):
        handover.wait(root, uri, run.tags[TRAINING])
    with _at(uri, root):
        place = _experiment(experiment, uri, root)
        known = _finished(place, run.tags[FINGERPRINT])
        if known is None:
            return _register(run, _log(run, place, *_watched(run, place, uri, root)))
        for path, again in handover.finished(root, uri, run.tags[TRAINING]):  # the same state was trained again
            mlflow.delete_run(again)
            handover.remove(path)
        logger.warning("this state is recorded already, as run %s of experiment %s", known, experiment)
        return _register(run, known)


def open_run(tags: dict[str, str], experiment: str, root: Path) -> str:
    """Open a run for a training that begins, to be watched meanwhile; returns its run id.

    Raises:
        Refused: the store cannot be reached or refuses the run.
    """
    uri = store(root)
    with _at(uri, root):
        return _create(_experiment(experiment, uri, root), {**tags, STAGE: "train"}, None)


def log_params(run_id: str, params: dict, root: Path) -> None:
    """Log to an open run the sections that the training alone reads; raises Refused as `open_run`."""
    uri = store(root)
    with _refusing(uri), _tracking_to(uri):
        _log_batches(run_id, "params", _params({name: params[name] for name in WATCHED}))


def log_epochs(run_id: str, training: pd.DataFrame, time: int, root: Path) -> None:
    """Add rows of training.csv to an open run; `time` in milliseconds since 1970. Raises Refused as `open_run`."""
    uri = store(root)
    with _refusing(uri), _tracking_to(uri):
        _log_batches(run_id, "metrics", _curves(training, time))


def close_run(run_id: str, end: str, root: Path) -> None:
    """Tell an open run how its training ended: FINISHED, FAILED, KILLED. Raises Refused as `open_run`."""
    uri = store(root)
    with _refusing(uri), _tracking_to(uri):
        mlflow.MlflowClient().set_terminated(run_id, end)


@contextlib.contextmanager
def system_metrics(run_id: str, root: Path) -> Iterator[None]:
    """Log how busy processors, memory, disk, network and GPUs of this machine are, for the length of a block."""
    logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # what fails here is told by others
    monitor = SystemMetricsMonitor(run_id, tracking_uri=store(root))
    monitor.start()
    try:
        yield
    finally:
        monitor.finish()


@contextlib.contextmanager
def _at(uri: str, root: Path) -> Iterator[None]:
    """The store for this process alone, as the one that MLflow talks to; all that goes wrong is a `Refused`."""
    with _refusing(uri), held(uri, root), _tracking_to(uri):
        _make_database(uri)
        for path, run_id, end in handover.untold(root, uri):
            _end_late(run_id, end)
            handover.told(path)
        handover.prune(root, uri)
        yield


def _make_database(uri: str) -> None:
    """Make a database of SQLite beside its place and move it there: one whose making is broken off stays broken."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    path = Path(sqlite_path(uri) or os.devnull)
    if path.is_file() and path.stat().st_size == 0:  # as `held` leaves it
        part = path.with_name(f"{path.name}.part")
        try:
            part.unlink(missing_ok=True)
            mlflow.MlflowClient(f"sqlite:///{part}").search_experiments(max_results=1)
            files.publish(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def _refusing(uri: str) -> Iterator[None]:
    """Raise `Refused` for whatever MLflow, its database, a server, a driver or the disk raises in a block."""
    try:
        yield
    except Refused:
        raise
    except Exception as error:  # stores of files raise what their drivers do, S3's for one a plain Exception
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise Refused(f"{shown(uri)}: expected an MLflow store that takes the run, got: {reason}") from error


@contextlib.contextmanager
def _tracking_to(uri: str) -> Iterator[None]:
    """MLflow's tracking URI for the length of a block; MLflow changes the environment with it.

    It is one for all threads of a process, so that one after the other is in such a block.
    """
    with _ONE_URI:
        before = os.environ.get("MLFLOW_TRACKING_URI")
        mlflow.set_tracking_uri(uri)
        try:
            yield
        finally:
            mlflow.set_tracking_uri(None)
            if before is not None:
                os.environ["MLFLOW_TRACKING_URI"] = before


def _experiment(name: str, uri: str, root: Path) -> Experiment:
    """The experiment of that name; a new one in a database keeps its files at the project folder."""
    place = mlflow.get_experiment_by_name(name)
    if place is None:
        database = uri.partition(":")[0].partition("+")[0] in DATABASE_ENGINES
        location = (root.resolve() / "mlruns").as_uri() if database else None
        place = mlflow.get_experiment(mlflow.create_experiment(name, artifact_location=location))
    if place.lifecycle_stage != "active":
        raise Refused(f"record.experiment: expected one that is not deleted in MLflow, got {name!r}")
    return place


def _finished(place: Experiment, state: str) -> str | None:
    """The id of a finished run of that state; what is left of others, which were broken off, is deleted."""
    client, finished = mlflow.MlflowClient(), None
    for found in client.search_runs([place.experiment_id], f"tags.{FINGERPRINT} = '{state}'", ViewType.ACTIVE_ONLY):
        if found.info.status == "FINISHED":
            finished = found.info.run_id
        else:
            client.delete_run(found.info.run_id)
    return finished


def _watched(run: Run, place: Experiment, uri: str, root: Path) -> tuple[str, Path] | tuple[None, None]:
    """The run that was opened for the training of this one, and its file in `handover`."""
    for path, run_id in handover.finished(root, uri, run.tags[TRAINING]):
        opened = _run(run_id)
        if opened is not None and opened.info.experiment_id == place.experiment_id:
            wanted = {param.key: param.value for param in _params(run.params)}
            if FINGERPRINT not in opened.data.tags and opened.data.params.items() <= wanted.items():
                return run_id, path
    return None, None


def _run(run_id: str) -> mlflow.entities.Run | None:
    """None for one that has been deleted."""
    try:
        found = mlflow.MlflowClient().get_run(run_id)
    except MlflowException as error:
        if error.error_code == GONE:
            return None
        raise
    return found if found.info.lifecycle_stage == "active" else None


def _end_late(run_id: str, end: str) -> None:
    """Tell a run how its training ended, whose watcher could not."""
    found = _run(run_id)
    if found is not None and found.info.status == "RUNNING":
        mlflow.MlflowClient().set_terminated(run_id, end)


def _create(place: Experiment, tags: dict[str, str], time: int | None) -> str:
    """The id of a new run; `time` of its start, in milliseconds since 1970, now where it is None."""
    client, name = mlflow.MlflowClient(), tags.get(RUN_NAME)
    return client.create_run(place.experiment_id, time, {**resolve_tags(), **tags}, name).info.run_id


def _log(run: Run, place: Experiment, opened: str | None, note: Path | None) -> str:
    """Log everything as one run, the opened one or a new one; it counts as finished only when all is there."""
    run_id = opened or _create(place, run.tags, run.time)
    with mlflow.start_run(run_id):
        _log_batches(run_id, "tags", [RunTag(key, value) for key, value in {**run.tags, STAGE: "record"}.items()])
        if note is not None:
            handover.remove(note)
        if run.model is not None:
            logged_model.log(run.model)  # before the metrics: MLflow copies each to the model, a query or request each
        _log_batches(run_id, "params", _params(run.params))
        _log_batches(run_id, "metrics", _scores(run))
        _log_batches(run_id, "metrics", _missing(run_id, _curves(run.training, run.time)))
        for read in run.inputs:
            mlflow.log_input(_dataset(read), context=read.context)
        mlflow.log_table(run.per_image, "per_image.json")
        for folder, paths in run.files.items():
            for path in paths:
                (mlflow.log_artifacts if path.is_dir() else mlflow.log_artifact)(str(path), folder or None)
    return run_id


def _register(run: Run, run_id: str) -> str:
    """Register the model of a recorded run, if it has one; returns the run's id."""
    if run.model is not None:
        versions.register(mlflow.MlflowClient(), run_id, run.model.registered)
    return run_id


def _log_batches(run_id: str, kind: str, items: list) -> None:
    client = mlflow.MlflowClient()
    for start in range(0, len(items), BATCH[kind]):
        client.log_batch(run_id, **{kind: items[start : start + BATCH[kind]]})


def _params(params: dict) -> list[Param]:
    """The params as people write them in params.yaml, lists joined by commas."""
    return [Param(key, _text(value)) for key, value in flatten(params).items()]


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _scores(run: Run) -> list[Metric]:
    """Final scores by flat name; undefined ones are left out."""
    return [
        Metric(key, float(value), run.time, 0)
        for key, value in flatten(run.scores).items()
        if value is not None and math.isfinite(value)
    ]


def _curves(training: pd.DataFrame, time: int) -> list[Metric]:
    """`training.<column>` by epoch; undefined values are left out."""
    by_epoch = training.set_index("epoch")
    return [
        Metric(f"training.{column}", float(value), time, int(epoch))
        for column in by_epoch
        for epoch, value in by_epoch[column].items()
        if math.isfinite(value)
    ]


def _missing(run_id: str, curves: list[Metric]) -> list[Metric]:
    """The points that the run does not have yet."""
    client = mlflow.MlflowClient()
    known = {(key, m.step) for key in {m.key for m in curves} for m in client.get_metric_history(run_id, key)}
    return [metric for metric in curves if (metric.key, metric.step) not in known]


def _dataset(read: Input) -> MetaDataset:
    return MetaDataset(LocalArtifactDatasetSource(read.path), name=read.name, digest=read.digest)
