"""The model as a run of MLflow keeps it: network, code, settings, signature, example and requirements in one folder.

It is loaded from any folder, by a process that has nothing of this project: `src/served.py` says how.
"""

import json
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from src.quiet import ColSpec, DataType, ModelSignature, ParamSchema, ParamSpec, Schema, mlflow
from src.runs import Model

SOURCE = Path(__file__).parent
SERVED = "served.py"
COPIED = (  # `serving` and all that it imports
    *("__init__.py", "backend.py", "decode.py", "files.py", "fov.py", "intake.py", "models.py", "patches.py"),
    *("predictor.py", "preprocess.py", "residual_unet.py", "samples.py", "segment.py", "serving.py"),
)
CODE = [SOURCE / name for name in (SERVED, *COPIED)]
PACKAGES = (
    *("tensorflow", "tf_keras", "segmentation-models", "numpy", "opencv-python-headless", "pillow", "h5py", "pandas"),
)
EXAMPLE_SIDE = 128  # pixels, longer side of the input example
SIGNATURE = ModelSignature(
    Schema([ColSpec(DataType.binary, "photograph"), ColSpec(DataType.binary, "fov", required=False)]),
    Schema([ColSpec(DataType.binary, "probability")]),
    ParamSchema([ParamSpec("output", DataType.string, "png")]),
)


def log(model: Model) -> None:
    """Log the model to the active run."""
    with tempfile.TemporaryDirectory() as folder:
        package, settings = Path(folder) / "code" / SOURCE.name, Path(folder) / "settings.json"
        settings.write_text(json.dumps(model.settings), encoding="utf-8")  # MLflow's model_config would become params
        package.mkdir(parents=True)
        for file in model.code:
            shutil.copy(file, package)
        mlflow.pyfunc.log_model(
            name="model",
            python_model=str(package / SERVED),
            artifacts={"network": str(model.path), "code": str(package.parent), "settings": str(settings)},
            signature=SIGNATURE,
            input_example=input_example(model.photograph),
            pip_requirements=model.requirements,
        )


def requirements() -> list[str]:
    """What the served model needs, at the versions of this environment."""
    return [f"{name}=={version(name)}" for name in PACKAGES]


def input_example(photograph: np.ndarray) -> pd.DataFrame:
    """A request with one photograph, its longer side EXAMPLE_SIDE pixels, as PNG."""
    scale = EXAMPLE_SIDE / max(photograph.shape[:2])
    small = cv2.resize(photograph, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
    return pd.DataFrame({"photograph": [png]})
