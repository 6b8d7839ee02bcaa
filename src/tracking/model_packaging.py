"""Package the model for MLflow: network, code, settings, signature, example and requirements in one folder.

A process that has nothing of this project can load it, from any folder: see `src/serving/mlflow_pyfunc.py`.
"""

import hashlib
import json
import re
import shutil
import tempfile
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

from src.common.module_imports import imported_files
from src.tracking.mlflow_setup import MlflowClient, MlflowException, Model, ModelSignature, entities, mlflow, types
from src.tracking.run_record import ModelRecord

PROJECT = Path(__file__).parents[2]
ENTRY = PROJECT / "src/serving/mlflow_pyfunc.py"  # what MLflow executes where the model is loaded
SERVICE = PROJECT / "src/serving/model_service.py"  # copied with it, and all that it imports
PACKAGE = "vessel_service"  # of the copied code, followed by its hash: one process may load models of several versions
PACKAGES = (
    *(
        "tensorflow",
        "tf_keras",
        "segmentation-models",
        "numpy",
        "opencv-python-headless",
        "pillow",
        "tifffile",
        "h5py",
        "pandas",
    ),
)
NAME = "model"  # of a logged model
MODEL_FILE = "MLmodel"  # MLflow's description of a model, in its folder
EXAMPLE_SIDE = 128  # pixels, longer side of the input example
SIGNATURE = ModelSignature(
    types.Schema(
        [types.ColSpec(types.DataType.binary, "image"), types.ColSpec(types.DataType.binary, "fov", required=False)]
    ),
    types.Schema([types.ColSpec(types.DataType.binary, "probability")]),
    types.ParamSchema([types.ParamSpec("output", types.DataType.string, "png")]),
)


def served_code() -> list[Path]:
    """Return the modules of `src` that the served model runs: ENTRY, SERVICE and all that it imports."""
    todo, found = [SERVICE], {ENTRY}
    while todo:
        path = todo.pop()
        if path not in found:
            found.add(path)
            todo += imported_files(path, PROJECT)
    return sorted(found)


def log_model(client: MlflowClient, run_id: str, model: ModelRecord) -> str:
    """Log the model to a run; returns the id of the logged model."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        network = shutil.copyfile(model.path, folder / model.path.name)  # a link where DVC's cache is on another disk
        code, settings = folder / "code", folder / "settings.json"
        package = copy_code(model.code, code)
        settings.write_text(json.dumps({"package": package, "service": model.settings}), encoding="utf-8")
        mlflow.pyfunc.save_model(
            str(folder / "model"),
            python_model=str(code / ENTRY.name),
            artifacts={"network": str(network), "code": str(code), "settings": str(settings)},
            signature=SIGNATURE,
            input_example=input_example(model.image),
            pip_requirements=requirements(),
        )
        return upload_model(client, run_id, folder / "model")


def upload_model(client: MlflowClient, run_id: str, folder: Path) -> str:
    """Upload the folder of a saved model as an output of a run; returns the id of the logged model.

    Raises:
        OSError: the store is a server of MLflow 2, which knows no logged models.
    """
    try:
        logged = client.create_logged_model(client.get_run(run_id).info.experiment_id, NAME, run_id)
    except MlflowException as error:
        if error.error_code != "ENDPOINT_NOT_FOUND":
            raise
        raise OSError(
            "expected a server of MLflow 3, got an older one, which takes runs without models only"
        ) from error
    client.log_outputs(run_id, [entities.LoggedModelOutput(logged.model_id, step=0)])
    client.log_model_artifacts(logged.model_id, str(folder))
    description = Model.load(str(folder))
    description.run_id, description.model_id = run_id, logged.model_id
    description.model_uuid, description.artifact_path = logged.model_id, logged.artifact_location
    with tempfile.TemporaryDirectory() as name:
        description.save(str(Path(name) / MODEL_FILE))
        client.log_model_artifact(logged.model_id, str(Path(name) / MODEL_FILE))
    client.finalize_logged_model(logged.model_id, "READY")
    return logged.model_id


def copy_code(files: list[Path], folder: Path) -> str:
    """Copy modules of `src` to a package of another name in `folder`, and ENTRY beside it; returns the name.

    The process that loads the model may have a package `src` of its own, or load two versions of the model.
    """
    texts = {file: file.read_text(encoding="utf-8") for file in files}
    package = f"{PACKAGE}_{hashlib.sha256(json.dumps(sorted(texts.values())).encode()).hexdigest()[:12]}"
    for file, text in texts.items():
        place = folder / file.name if file == ENTRY else folder / package / file.relative_to(PROJECT / "src")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(re.sub(r"^(\s*(?:from|import)) src\b", rf"\1 {package}", text, flags=re.M), encoding="utf-8")
    for parent in {parent for file in folder.rglob("*/*.py") for parent in file.parents if folder in parent.parents}:
        (parent / "__init__.py").touch()
    return package


def requirements() -> list[str]:
    """Return the packages that the served model needs, at the versions of this environment."""
    return [f"{name}=={version(name)}" for name in PACKAGES]


def input_example(image: np.ndarray) -> pd.DataFrame:
    """Return a request with one image, its longer side EXAMPLE_SIDE pixels, as PNG."""
    scale = EXAMPLE_SIDE / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    png = cv2.imencode(".png", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()
    return pd.DataFrame({"image": [png]})
