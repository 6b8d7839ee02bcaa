"""MLflow with the settings that a run needs; every module that uses it imports it from here.

The settings are read when mlflow is imported. What the user has set already stays.
"""

import logging
import os

DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # give up within seconds, not minutes, on a server that is down
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}
os.environ.update(DEFAULTS | os.environ)

import mlflow  # noqa: E402
from mlflow import MlflowClient, entities, types  # noqa: E402
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import Model, ModelSignature  # noqa: E402
from mlflow.store.db.db_types import DATABASE_ENGINES  # noqa: E402
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # noqa: E402
from mlflow.tracking.context.registry import resolve_tags  # noqa: E402
from mlflow.utils import get_results_from_paginated_fn  # noqa: E402
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT  # noqa: E402

logging.getLogger("mlflow.system_metrics").setLevel(logging.CRITICAL)  # who logs them reports the same failures
logging.getLogger("alembic").setLevel(logging.WARNING)  # else each step of a new database is a line

__all__ = [
    "DATABASE_ENGINES",
    "MLFLOW_DATASET_CONTEXT",
    "MlflowClient",
    "MlflowException",
    "Model",
    "ModelSignature",
    "ModelVersion",
    "SystemMetricsMonitor",
    "entities",
    "get_results_from_paginated_fn",
    "mlflow",
    "resolve_tags",
    "types",
]
