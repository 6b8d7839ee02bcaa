"""Copy recorded runs of the local MLflow store to the store that MLFLOW_TRACKING_URI names."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from src.common.command_line import command_parser
from src.common.project_root import real_root
from src.tracking import mlflow_logger, model_packaging, model_versions
from src.tracking.local_store import local_path, open_local_store, search
from src.tracking.mlflow_setup import MlflowClient, entities
from src.tracking.run_tags import FINGERPRINT
from src.tracking.tracking_store import (
    URI_VARIABLE,
    TrackingError,
    check_reachable,
    find_experiment,
    local_uri,
    open_store,
    readable_errors,
    redact_credentials,
    tracking_uri,
)

EARLIER_QUEUE = Path(".tracking/outbox")  # runs that an earlier version of the project could not send
SOURCE = "source.run_id"  # tag of a copy: the id of the local run
COMMAND = "python -m src sync"
DESCRIPTION = """
Copy recorded runs from the local MLflow store of the project to another store.

Every run is recorded in the local store first: mlflow.db and mlruns/ in the project folder. Where the environment
variable MLFLOW_TRACKING_URI names another store, `dvc repro` copies the runs there that it lacks. This command does
the same by hand, say after the server was down.

A copy holds all that the run holds: params, metrics with their history, tags, inputs, files, the model and its
registered version. A run whose state the other store has already is not copied again. A copy that was interrupted is
deleted and made anew.
"""


def send_runs(root: Path, report: Callable[[str], None]) -> int:
    """Copy to the store of MLFLOW_TRACKING_URI the recorded runs that it lacks, oldest first.

    Args:
        root: the project folder.
        report: is called with a line for each run that is copied or cannot be.

    Returns:
        The number of runs that could not be copied.

    Raises:
        TrackingError: a store cannot be opened or is out of reach.
    """
    uri, left = tracking_uri(root), 0
    with open_local_store(root) as source:
        runs = [run for run in search(source, "attributes.status = 'FINISHED'") if FINGERPRINT in run.data.tags]
    with open_store(uri, root) as target:
        for run in runs:
            try:
                with readable_errors(uri):
                    copied = _send(run, source, target, root)
            except TrackingError as error:
                report(f"not sent: run {run.info.run_id}: {error}")
                left += 1
                check_reachable(uri)  # else each of the next would wait for a store that is down
            else:
                if copied is not None:
                    report(f"sent: run {run.info.run_id} to {redact_credentials(uri)} as {copied}")
    return left


def _send(run: entities.Run, source: MlflowClient, target: MlflowClient, root: Path) -> str | None:
    """Copy a run that the target lacks; returns the id of the copy, None where there is one already."""
    name = source.get_experiment(run.info.experiment_id).name
    experiment = find_experiment(target, name, root)
    query = f"tags.{FINGERPRINT} = '{run.data.tags[FINGERPRINT]}' AND attributes.status = 'FINISHED'"
    if target.search_runs(
        [experiment.experiment_id], query, entities.ViewType.ALL
    ):  # deleted there: somebody wanted that
        return None
    for part in target.search_runs([experiment.experiment_id], f"tags.`{SOURCE}` = '{run.info.run_id}'"):
        _delete(target, part.info.run_id)
    tags = {SOURCE: run.info.run_id}
    copy = target.create_run(experiment.experiment_id, run.info.start_time, tags, run.info.run_name).info.run_id
    _copy_contents(run, copy, source, target)
    target.set_terminated(copy, "FINISHED", run.info.end_time)
    return copy


def _delete(client: MlflowClient, run_id: str) -> None:
    """Delete an interrupted copy, and the versions of its model."""
    for version in client.search_model_versions(f"run_id = '{run_id}'"):
        client.delete_model_version(version.name, version.version)
    client.delete_run(run_id)


def _copy_contents(run: entities.Run, copy: str, source: MlflowClient, target: MlflowClient) -> None:
    """Copy params, tags, metrics, inputs, files and model of a run to the run `copy`, and register the model."""
    run_id, of_model = run.info.run_id, {}
    params = [entities.Param(key, value) for key, value in run.data.params.items()]
    mlflow_logger.log_batches(
        target, copy, params=params, tags=[entities.RunTag(*tag) for tag in run.data.tags.items()]
    )
    for output in run.outputs.model_outputs if run.outputs else []:
        model = source.get_logged_model(output.model_id)
        model_id = model_packaging.upload_model(target, copy, local_path(model.artifact_location))
        of_model = {metric.key: model_id for metric in model.metrics or []}
    history = [point for key in run.data.metrics for point in source.get_metric_history(run_id, key)]
    metrics = [entities.Metric(p.key, p.value, p.timestamp, p.step, model_id=of_model.get(p.key)) for p in history]
    mlflow_logger.log_batches(target, copy, metrics)
    target.log_inputs(copy, run.inputs.dataset_inputs if run.inputs else [])
    target.log_artifacts(copy, str(local_path(run.info.artifact_uri)))
    for version in source.search_model_versions(f"run_id = '{run_id}'"):
        model_versions.register_version(target, copy, version.name)


def main(arguments: Sequence[str] | None = None) -> int:
    """Send what is left; returns the exit code."""
    codes = {
        0: "nothing is left to send",
        1: "a run is left, and why is printed",
        2: f"there is nowhere to send: {URI_VARIABLE} is not set, or names the local store",
    }
    parser = command_parser("sync", DESCRIPTION, codes, [""])
    parser.parse_args(arguments)
    root = real_root(Path.cwd())
    if any((root / EARLIER_QUEUE).glob("[!.]*")):
        print(f"warning: {EARLIER_QUEUE} holds runs of an earlier version, which alone can send them", file=sys.stderr)
    if tracking_uri(root) == local_uri(root):
        print(f"error: expected {URI_VARIABLE} to name a store beside the local one", file=sys.stderr)
        return 2
    try:
        left = send_runs(root, print)
    except TrackingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{left} left to send" if left else "nothing is left to send")
    return int(left > 0)
