"""Record the run in MLflow."""

import logging
from pathlib import Path

from src.common import atomic_io
from src.common.operating_point import read_threshold
from src.common.project_root import real_root
from src.data import samples
from src.inference.sliding_window import InferenceConfig
from src.params import Params
from src.stage_runner import run_stage
from src.tracking import mlflow_logger, model_packaging, run_record, run_tags, sync
from src.tracking.tracking_store import TrackingError, local_uri, tracking_uri

logger = logging.getLogger(__name__)


def main(
    metrics: Path, examples: Path, model: Path, test: Path, fingerprint: Path, params: Params, project: Path = Path()
) -> str | None:
    """Record params, data, code, curves, scores, figures and model as one MLflow run; returns its id.

    Where MLflow fails, a warning says so, and nothing else does. The fingerprint of the state goes to the file
    `fingerprint`, which git does not track: a fresh clone records anew.
    """
    logged = None
    if params.record.log_model:
        image, name = samples.image(samples.find(test)[0]), params.record.registered_model_name
        logged = run_record.ModelRecord(
            model, image, service_settings(params, metrics), name, model_packaging.served_code()
        )
    paths = run_record.RunPaths(project, metrics, examples, test.parent, model)
    run = run_record.gather_run(paths, params.model_dump(), logged)
    run_id = record_and_send(run, params.record.experiment_name, real_root(project))
    atomic_io.write_text(fingerprint, run.tags[run_tags.FINGERPRINT] + "\n")
    note = run_tags.describe_changed_results(project, metrics)
    if note is not None:
        logger.warning(note)
    return run_id


def record_and_send(run: run_record.RunRecord, configured: str, root: Path) -> str | None:
    """Record a run in the local store, and copy it to that of MLFLOW_TRACKING_URI; None where it is not recorded."""
    experiment = mlflow_logger.experiment_name(configured)
    if experiment != configured:
        logger.warning("MLFLOW_EXPERIMENT_NAME=%s replaces record.experiment_name (%s)", experiment, configured)
    try:
        run_id = mlflow_logger.record(run, experiment, root)
    except TrackingError as error:
        again = "dvc repro --single-item --force record"
        logger.warning("WARNING: this run is not recorded (%s); `%s` tries again", error, again)
        return None
    if tracking_uri(root) != local_uri(root):
        try:
            left = sync.send_runs(root, logger.warning)
            if left:
                logger.warning("WARNING: %s left to send; `%s` tries again", left, sync.COMMAND)
        except TrackingError as error:
            logger.warning("WARNING: this run is recorded here alone (%s); `%s` sends it", error, sync.COMMAND)
    return run_id


def service_settings(params: Params, metrics: Path) -> dict[str, object]:
    """Return how the logged model prepares and predicts images: as stage evaluate does, at its threshold."""
    inference = params.evaluate.model_dump(include=set(InferenceConfig._fields))
    return params.preprocess.model_dump() | inference | {"threshold": read_threshold(metrics / "validation.json")}


if __name__ == "__main__":
    run_stage(main, lambda params: {"params": params})
