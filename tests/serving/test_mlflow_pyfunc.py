"""The served model: `tracking/model_packaging.py`, `serving/mlflow_pyfunc.py`, `serving/model_service.py` together."""

import base64
import io
import json
import math
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from mlflow.pyfunc import scoring_server
from PIL import Image

from src.data import fov_detection
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.models import architectures, model_io
from src.synthetic import generator
from src.tracking import model_packaging, run_record
from src.tracking.mlflow_setup import MlflowClient, MlflowException, mlflow

SETTINGS = {
    "fov_diameter": 120,
    "clahe_clip_limit": 1.0,
    "tile": 96,
    "overlap": 32,
    "tta_flips": True,
    "batch_size": 2,
    "tta_scales": [1.0, 1.5],
    "logit_adjustment": False,
    "scale_weighting": True,
    "hysteresis_threshold": 0.1,
    "min_scale_factor": 0.9,
    "thin_vessel_extension": 0.7,
    "threshold": 0.05,
}
FUNDUS, OTHER = generator.generate(1, 0, 160, 150), generator.generate(1, 1, 130, 200)
TOLERANCE = 1e-3
ELSEWHERE = """
import sys
from pathlib import Path
import mlflow, pandas
sys.path.insert(0, "")
import src.inference
model, image, target = sys.argv[1:]
images = pandas.DataFrame({"image": [Path(image).read_bytes()]})
(probability,) = mlflow.pyfunc.load_model(model).predict(images)["probability"]
Path(target).write_bytes(probability)
from src.inference import own
print(own.VALUE, {name.partition(".")[0] for name in sys.modules if name.startswith("vessel_service")})
"""


def encoded(image: np.ndarray, kind: str = "PNG") -> bytes:
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind)
    return content.getvalue()


def decoded(png: bytes) -> np.ndarray:
    levels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    assert levels.dtype == np.uint16
    return levels / 65535.0


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("network") / "model.h5"
    model_io.save(architectures.build("residual_unet", "", None, (4, 8), 64), path)
    return path


@pytest.fixture(scope="module")
def log(tmp_path_factory, add_store, network):
    """A function that logs the model with files of code; returns its folder, away from the store."""
    root = tmp_path_factory.mktemp("a project")
    uri = add_store(root)
    client = MlflowClient(uri, registry_uri=uri)
    experiment = client.create_experiment("e", (root / "mlruns").as_uri())

    def log_with(code: list[Path]) -> Path:
        run_id = client.create_run(experiment).info.run_id
        record = run_record.ModelRecord(network, FUNDUS.image, SETTINGS, "vessels", code)
        model_id = model_packaging.log_model(client, run_id, record)
        target = tmp_path_factory.mktemp("elsewhere") / "model"
        return shutil.copytree(root / "mlruns" / "models" / model_id / "artifacts", target)

    return log_with


@pytest.fixture(scope="module")
def logged(log) -> Path:
    """The folder of the logged model."""
    return log(model_packaging.served_code())


@pytest.fixture(scope="module")
def model(logged) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(logged))


@pytest.fixture(scope="module")
def expected(network):
    """The map of an image by the modules of the project."""
    config = InferenceConfig(*(SETTINGS[key] for key in InferenceConfig._fields))
    predictor = SlidingWindowPredictor(architectures.as_numpy_function(model_io.load(network)), None, config)

    def segmented(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
        return segmentation.segment_image(
            image, fov, predictor, SETTINGS["fov_diameter"], SETTINGS["clahe_clip_limit"]
        ).probability

    return segmented


@pytest.fixture(scope="module")
def post(model):
    """The response of MLflow's scoring server to a request, as status and content, without a socket."""

    def respond(request: dict) -> tuple[int, dict]:
        arguments = json.dumps(request).encode(), "application/json", model, model.metadata.get_input_schema()
        try:
            response = scoring_server.invocations(*arguments)
        except MlflowException as error:
            return error.get_http_status_code(), json.loads(error.serialize_as_json())
        return response.status, json.loads(response.response)

    return respond


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.slow
def test_process_without_the_project_and_with_its_own_package_src_predicts_the_same(logged, expected, tmp_path):
    (tmp_path / "src" / "inference").mkdir(parents=True)
    for folder in (tmp_path / "src", tmp_path / "src" / "inference"):
        (folder / "__init__.py").touch()
    (tmp_path / "src" / "inference" / "own.py").write_text("VALUE = 7\n")
    (tmp_path / "fundus.png").write_bytes(encoded(FUNDUS.image))
    command = [sys.executable, "-I", "-c", ELSEWHERE, logged, "fundus.png", "map.png"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "AutoGraph" not in done.stderr  # it looks modules up by name
    package = json.loads((logged / "artifacts" / "settings.json").read_text(encoding="utf-8"))["package"]
    assert done.stdout == f"7 {{'{package}'}}\n"
    found = decoded((tmp_path / "map.png").read_bytes())
    reference = expected(FUNDUS.image, fov_detection.detect(FUNDUS.image))
    assert reference.std() > 10 * TOLERANCE
    np.testing.assert_allclose(found, reference, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "array"])
@pytest.mark.parametrize("output", ["png", "array"])
def test_map_is_that_of_the_pipeline_whatever_the_form(model, expected, form, output):
    image = FUNDUS.image if form == "array" else encoded(FUNDUS.image, form)
    (probability,) = model.predict({"image": [image]}, params={"output": output})["probability"]
    found = decoded(probability) if output == "png" else probability
    np.testing.assert_allclose(
        found, expected(FUNDUS.image, fov_detection.detect(FUNDUS.image)), rtol=0, atol=TOLERANCE
    )


def test_images_of_several_sizes_with_fields_of_view_are_one_request(model, expected):
    given = [FUNDUS, OTHER]
    request = pd.DataFrame({"image": [each.image for each in given], "fov": [each.fov for each in given]})
    maps = model.predict(request, params={"output": "array"})["probability"]
    for each, probability in zip(given, maps, strict=True):
        assert probability.shape == each.fov.shape
        assert not probability[~each.fov].any()
        np.testing.assert_allclose(probability, expected(each.image, each.fov), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("absent", [None, math.nan])
def test_field_of_view_may_be_given_for_some(absent, model, expected):
    request = pd.DataFrame({"image": [FUNDUS.image, FUNDUS.image], "fov": [FUNDUS.fov, absent]})
    given, found = model.predict(request, params={"output": "array"})["probability"]
    np.testing.assert_allclose(given, expected(FUNDUS.image, FUNDUS.fov), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(
        found, expected(FUNDUS.image, fov_detection.detect(FUNDUS.image)), rtol=0, atol=TOLERANCE
    )


@pytest.mark.parametrize(
    "request_of",
    [
        lambda content, fov: {"dataframe_records": [{"image": content, "fov": fov}]},
        lambda content, fov: {"dataframe_split": {"columns": ["image", "fov"], "data": [[content, fov]]}},
    ],
)
def test_response_is_the_map_as_base64(post, expected, request_of):
    fov = encoded(FUNDUS.fov.astype(np.uint8) * 255)
    status, response = post(request_of(text(encoded(FUNDUS.image)), text(fov)))
    assert status == 200
    found = decoded(base64.b64decode(response["predictions"][0]["probability"]))
    np.testing.assert_allclose(found, expected(FUNDUS.image, FUNDUS.fov), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no picture", "image 2: expected an image file, got one that cannot be decoded"),
        (encoded(FUNDUS.image)[:1000], "image 2: expected an image file, got one that cannot be decoded"),
        (encoded(np.zeros_like(FUNDUS.image)), "image 2: expected a field of view, bright on dark"),
        (encoded(FUNDUS.image[..., ::-1]), "image 2: expected a fundus image, more red than blue"),
    ],
)
def test_invalid_image_is_a_bad_request_that_names_the_cause(post, content, cause):
    images = [{"image": text(each)} for each in (encoded(FUNDUS.image), content)]
    status, response = post({"dataframe_records": images})
    assert status == 400
    assert cause in response["message"]
    assert len(response["message"]) < 1000


def test_request_without_an_image_is_a_bad_request(post):
    status, response = post({"dataframe_records": [{"picture": "abcd"}]})
    assert status == 400
    assert "missing inputs ['image']" in response["message"]


def test_unknown_output_is_invalid(model):
    with pytest.raises(MlflowException, match="output: expected one of png, array, got 'gif'"):
        model.predict({"image": [FUNDUS.image]}, params={"output": "gif"})


def test_error_in_this_process_is_the_message_alone(model):
    with pytest.raises(MlflowException, match=r"^image 1: expected an image file"):
        model.predict({"image": [b"no picture"]})


def test_model_describes_its_input_and_requirements(logged):
    described = mlflow.models.Model.load(str(logged))
    assert described.signature == model_packaging.SIGNATURE
    requirements = (logged / "requirements.txt").read_text(encoding="utf-8").split()
    assert {f"tensorflow=={version('tensorflow')}", f"mlflow=={mlflow.__version__}"} <= set(requirements)
    assert not list(logged.rglob("*.pkl"))


def test_input_example_is_a_valid_request(logged, model, post):
    described = mlflow.models.Model.load(str(logged))
    example = described.load_input_example(str(logged))
    assert decoded(model.predict(example)["probability"][0]).shape == (128, 120)
    assert post(json.loads(described.get_serving_input(str(logged))))[0] == 200


@pytest.mark.slow
def test_process_with_another_keras_gets_an_error_with_the_remedy(logged):
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [
        sys.executable,
        "-c",
        f"import tensorflow, mlflow; tensorflow.keras.Model; mlflow.pyfunc.load_model({str(logged)!r})",
    ]
    done = subprocess.run(command, env=environment, cwd=logged.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: expected TensorFlow with the Keras tf_keras, got keras: load the model before TensorFlow is"
    )


def test_two_versions_of_the_code_are_loaded_in_one_process(log, logged, model, tmp_path, monkeypatch):
    """A later version inverts the probability."""
    project, code = tmp_path / "project", model_packaging.served_code()
    for file in code:
        target = project / file.relative_to(model_packaging.PROJECT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    service = project / "src" / "serving" / "model_service.py"
    changed = service.read_text(encoding="utf-8").replace("to_levels(probability)", "to_levels(1 - probability)")
    service.write_text(changed, encoding="utf-8")
    for name, place in (("PROJECT", project), ("SERVICE", service), ("ENTRY", service.with_name("mlflow_pyfunc.py"))):
        monkeypatch.setattr(model_packaging, name, place)
    later = mlflow.pyfunc.load_model(str(log(model_packaging.served_code())))
    request = {"image": [encoded(FUNDUS.image)]}
    first, second, again = (decoded(each.predict(request)["probability"][0]) for each in (model, later, model))
    np.testing.assert_allclose(second, 1 - first, rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(first, again)
