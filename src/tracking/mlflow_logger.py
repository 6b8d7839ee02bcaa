"""Log a run of the pipeline to the local MLflow store, whole; it completes the run that its training logged live."""

import json
import logging
import math
import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from src.tracking import model_packaging, model_versions
from src.tracking.local_store import open_local_store, process_tags
from src.tracking.mlflow_setup import MLFLOW_DATASET_CONTEXT, MlflowClient, entities, resolve_tags
from src.tracking.run_record import InputData, RunRecord, flatten
from src.tracking.run_tags import EXPERIMENT_NAME, FINGERPRINT, TRAINING, Params
from src.tracking.tracking_store import find_experiment

STAGE = "stage"  # tag: the last stage that logged to the run
TRAIN_SECTIONS = ("model", "loss", "train")  # of params.yaml, which stage train reads
MAX_METRICS, MAX_OTHERS = 1000, 100  # in one call of `log_batch`

logger = logging.getLogger(__name__)


def experiment_name(configured: str) -> str:
    """Return the name of the MLflow experiment: MLFLOW_EXPERIMENT_NAME, else that of params.yaml."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME") or configured


def record(run: RunRecord, experiment: str, root: Path) -> str:
    """Log a run to the local store and register its model; the same state twice is one run.

    Args:
        run: its contents.
        experiment: name of the MLflow experiment, created where it is missing.
        root: the project folder.

    Returns:
        The run id.

    Raises:
        TrackingError: the store is damaged, or the disk is full or read-only.
    """
    with open_local_store(root) as client:
        found = find_experiment(client, experiment, root)
        run_id = _find_recorded(client, found, run.tags[FINGERPRINT])
        live = _find_live(client, found, run.tags[TRAINING])
        if run_id is None:
            run_id = _log(client, run, found, next((other for other in live if _may_complete(other, run)), None))
        else:
            for repeated in live:  # the same state was trained again
                client.delete_run(repeated.info.run_id)
            logger.warning("this state is recorded already, as run %s of experiment %s", run_id, experiment)
        if run.model is not None:
            model_versions.register_version(client, run_id, run.model.registered_name)
        return run_id


def create_run(
    client: MlflowClient, experiment: entities.Experiment, tags: dict[str, str], time: int | None = None
) -> str:
    """Create a run that belongs to this process; returns its id. `time` of its start is in milliseconds since 1970."""
    tags = {**resolve_tags(), **tags, **process_tags()}
    return client.create_run(experiment.experiment_id, time, tags, tags.get(EXPERIMENT_NAME)).info.run_id


def log_batches(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[entities.Metric] = (),
    params: Sequence[entities.Param] = (),
    tags: Sequence[entities.RunTag] = (),
) -> None:
    """Log any number of metrics, params and tags, in as few calls as MLflow allows."""
    for start in range(0, len(metrics), MAX_METRICS):
        client.log_batch(run_id, metrics=metrics[start : start + MAX_METRICS])
    for start in range(0, max(len(params), len(tags)), MAX_OTHERS):
        part = slice(start, start + MAX_OTHERS)
        client.log_batch(run_id, params=params[part], tags=tags[part])


def as_params(params: Params) -> list[entities.Param]:
    """Return params.yaml, or a part of it, with flat names; lists are joined by commas."""
    return [entities.Param(key, _as_text(value)) for key, value in flatten(params).items()]


def learning_curves(training: pd.DataFrame, time: int) -> list[entities.Metric]:
    """Return `training.<column>` by epoch, undefined values left out; `time` is in milliseconds since 1970."""
    return [
        entities.Metric(f"{TRAINING}.{column}", float(value), time, int(epoch))
        for column in training.columns.drop("epoch")
        for epoch, value in zip(training["epoch"], training[column], strict=True)
        if math.isfinite(value)
    ]


def _find_recorded(client: MlflowClient, experiment: entities.Experiment, fingerprint: str) -> str | None:
    """Return the id of the finished run of that state; delete others, whose recording was interrupted."""
    recorded = None
    for found in client.search_runs([experiment.experiment_id], f"tags.{FINGERPRINT} = '{fingerprint}'"):
        if found.info.status == "FINISHED":
            recorded = found.info.run_id
        else:
            client.delete_run(found.info.run_id)
    return recorded


def _find_live(client: MlflowClient, experiment: entities.Experiment, training: str) -> list[entities.Run]:
    """Return the finished runs that were logged live and not completed, of the training with that hash."""
    query = f"tags.{TRAINING} = '{training}' AND tags.{STAGE} = 'train' AND attributes.status = 'FINISHED'"
    return list(client.search_runs([experiment.experiment_id], query))


def _may_complete(live: entities.Run, run: RunRecord) -> bool:
    """Whether a run that was logged live has no other params."""
    return live.data.params.items() <= {param.key: param.value for param in as_params(run.params)}.items()


def _log(client: MlflowClient, run: RunRecord, experiment: entities.Experiment, live: entities.Run | None) -> str:
    """Log everything to the live run, or to a new one; its status is FINISHED only when all is there."""
    tags = {**run.tags, **process_tags(), STAGE: "record"}
    run_id = create_run(client, experiment, run.tags, run.time) if live is None else live.info.run_id
    client.update_run(run_id, status="RUNNING")
    status = "FAILED"
    try:
        log_batches(client, run_id, tags=[entities.RunTag(key, value) for key, value in tags.items()])
        model_id = None if run.model is None else model_packaging.log_model(client, run_id, run.model)
        curves = learning_curves(run.training, run.time)
        if live is not None:
            curves = _not_logged(client, run_id, curves)
        log_batches(client, run_id, [*_scores(run, model_id), *curves], as_params(run.params))
        client.log_inputs(run_id, [_dataset(images) for images in run.inputs])
        _log_files(client, run_id, run)
        status = "FINISHED"
    finally:
        client.set_terminated(run_id, status)
    return run_id


def _log_files(client: MlflowClient, run_id: str, run: RunRecord) -> None:
    for name, table in run.tables.items():
        client.log_table(run_id, table, f"{Path(name).stem}.json")
    for folder, paths in run.files.items():
        for path in paths:
            (client.log_artifacts if path.is_dir() else client.log_artifact)(run_id, str(path), folder)


def _as_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


def _scores(run: RunRecord, model_id: str | None) -> list[entities.Metric]:
    """Return the scores by flat name, undefined ones left out, as metrics of the run and of its model."""
    return [
        entities.Metric(key, float(value), run.time, 0, model_id=model_id)
        for key, value in flatten(run.scores).items()
        if value is not None and math.isfinite(value)
    ]


def _not_logged(client: MlflowClient, run_id: str, curves: list[entities.Metric]) -> list[entities.Metric]:
    """Return the points of learning curves that the run lacks."""
    keys = {metric.key for metric in curves}
    logged = {(key, point.step) for key in keys for point in client.get_metric_history(run_id, key)}
    return [metric for metric in curves if (metric.key, metric.step) not in logged]


def _dataset(images: InputData) -> entities.DatasetInput:
    dataset = entities.Dataset(images.name, images.digest, "local", json.dumps({"uri": images.path}))
    return entities.DatasetInput(dataset, [entities.InputTag(MLFLOW_DATASET_CONTEXT, images.context)])
