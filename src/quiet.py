"""MLflow with the settings that a run needs; imported from here by every module that uses it.

They are read when mlflow is imported; what the user has set already stays.
"""

import os

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    # a server that is down, or dies meanwhile, is given up after seconds, not minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "GIT_PYTHON_REFRESH": "quiet",
}
os.environ.update(QUIET | os.environ)

import mlflow  # noqa: E402
from mlflow.data.meta_dataset import MetaDataset  # noqa: E402
from mlflow.data.sources import LocalArtifactDatasetSource  # noqa: E402
from mlflow.entities import Experiment, Metric, Param, RunTag, ViewType  # noqa: E402
from mlflow.entities.model_registry import ModelVersion  # noqa: E402
from mlflow.exceptions import MlflowException  # noqa: E402
from mlflow.models import ModelSignature  # noqa: E402
from mlflow.store.db.db_types import DATABASE_ENGINES  # noqa: E402
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor  # noqa: E402
from mlflow.tracking.context.registry import resolve_tags  # noqa: E402
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema  # noqa: E402

__all__ = [
    "DATABASE_ENGINES",
    "ColSpec",
    "DataType",
    "Experiment",
    "LocalArtifactDatasetSource",
    "MetaDataset",
    "Metric",
    "MlflowException",
    "ModelSignature",
    "ModelVersion",
    "Param",
    "ParamSchema",
    "ParamSpec",
    "RunTag",
    "Schema",
    "SystemMetricsMonitor",
    "ViewType",
    "mlflow",
    "resolve_tags",
]
