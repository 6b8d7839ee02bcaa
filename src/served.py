"""The logged model as MLflow runs it: this file lies in the model's folder and is executed where the model is loaded.

A pickled model would need the same Python and leave to run whatever the pickle says; this one is read as code. The
modules that predict lie beside the network in `artifacts/code`. They are not MLflow's `code_paths`, which stay first
on Python's path: a package `src` of the process itself would then hide them, or they it.
"""

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException

PACKAGE = "src"


class VesselModel(mlflow.pyfunc.PythonModel):
    """Photographs to probability maps; see `src.serving` for what it takes and gives."""

    def load_context(self, context: mlflow.pyfunc.PythonModelContext) -> None:
        """Load the network with the settings that it was evaluated with."""
        code, network, settings = (Path(context.artifacts[name]) for name in ("code", "network", "settings"))
        settings = json.loads(settings.read_text(encoding="utf-8"))
        self.service = load_own(code, "serving").Service(network, **settings)

    def predict(self, model_input: pd.DataFrame, params: dict | None = None) -> pd.DataFrame:
        """A column `probability` of maps for the column `photograph`, and `fov` where there is one.

        Raises:
            MlflowException: a photograph is refused, which is an HTTP status of 400 with the sentence that says why.
        """
        photographs = list(model_input["photograph"])
        fields = list(model_input["fov"]) if "fov" in model_input else [None] * len(photographs)
        try:
            maps = self.service.maps(photographs, fields, (params or {}).get("output", "png"))
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame({"probability": pd.Series(maps, dtype=object)})


def load_own(folder: Path, name: str) -> ModuleType:
    """Module `src.<name>` of `folder`, with what it imports; what else the process calls `src` stays as it is."""
    others = _taken_out()
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    finally:
        sys.path.remove(str(folder))
        _taken_out()
        sys.modules.update(others)


def _taken_out() -> dict[str, ModuleType]:
    """The loaded modules of any package `src`, which are no longer known to Python."""
    names = [name for name in sys.modules if name == PACKAGE or name.startswith(f"{PACKAGE}.")]
    return {name: sys.modules.pop(name) for name in names}


mlflow.models.set_model(VesselModel())
