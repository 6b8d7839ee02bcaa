"""Served model as MLflow runs it: this file lies in the model's folder and is executed where the model is loaded.

It is read as code: a pickled model would need the same Python version, and leave to run whatever the pickle says. The
modules that predict lie beside the network, in `artifacts/code`, in a package whose name holds a hash of its code.
"""

import importlib
import json
import math
import sys
from pathlib import Path

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PythonModel, PythonModelContext


class VesselModel(PythonModel):
    """Map fundus images to maps of vessel probability; see `src.serving.model_service` for input and output."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network with the settings that it was evaluated with."""
        code, network, settings = (Path(context.artifacts[name]) for name in ("code", "network", "settings"))
        content = json.loads(settings.read_text(encoding="utf-8"))
        if content["package"] not in sys.modules:
            sys.path.append(str(code))  # its name is unique: it hides no other package, and none hides it
        service = importlib.import_module(f"{content['package']}.serving.model_service")
        self.service = service.Service(network, **content["service"])

    def predict(  # MLflow allows a method without the context
        self, model_input: pd.DataFrame, params: dict[str, str] | None = None
    ) -> pd.DataFrame:
        """Return a column `probability` of maps for the column `image`, and for `fov` where there is one.

        Raises:
            MlflowException: an invalid image or parameter; an HTTP response of status 400 with its message.
        """
        images = list(model_input["image"])
        fovs = model_input["fov"] if "fov" in model_input else [None] * len(images)
        fovs = [None if isinstance(fov, float) and math.isnan(fov) else fov for fov in fovs]  # an empty cell is NaN
        try:
            maps = self.service.predict(images, fovs, (params or {}).get("output", "png"))
        except ValueError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from error
        return pd.DataFrame({"probability": pd.Series(maps, dtype=object)})


mlflow.models.set_model(VesselModel())
