"""The logged model: `src/logged_model.py`, `src/served.py`, `src/serving.py` and `src/segment.py` together."""

import base64
import io
import json
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

from src import fov, logged_model, models, phantom, runs, segment, served
from src.predictor import Predictor, Views
from src.quiet import MlflowException, mlflow

SETTINGS = {
    "fov_diameter": 120,
    "clahe": 1.0,
    "tile": 96,
    "overlap": 32,
    "flips": True,
    "batch_size": 2,
    "scales": [1.0, 0.75],
}
EYE, OTHER = phantom.draw(1, 0, 160, 150), phantom.draw(1, 1, 130, 200)
TOLERANCE = 1e-3
ALONE = """
import sys
from pathlib import Path
import mlflow, pandas
model, photograph, target = sys.argv[1:]
photographs = pandas.DataFrame({"photograph": [Path(photograph).read_bytes()]})
(answer,) = mlflow.pyfunc.load_model(model).predict(photographs)["probability"]
Path(target).write_bytes(answer)
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
    models.save(models.build("residual_unet", "", None, (4, 8), 64), path)
    return path


@pytest.fixture(scope="module")
def logged(tmp_path_factory, add_store, network) -> Path:
    """The folder of the logged model, away from its store."""
    root = tmp_path_factory.mktemp("a project")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", add_store(root))  # MLflow writes the variable, too
        mlflow.set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
        experiment = mlflow.create_experiment("e", artifact_location=(root / "mlruns").as_uri())
        with mlflow.start_run(experiment_id=experiment):
            how = SETTINGS, "vessels", logged_model.CODE, logged_model.requirements()
            logged_model.log(runs.Model(network, EYE.image, *how))
        mlflow.set_tracking_uri(None)
    (found,) = root.rglob("MLmodel")
    return shutil.copytree(found.parent, tmp_path_factory.mktemp("elsewhere") / "model")


@pytest.fixture(scope="module")
def model(logged) -> mlflow.pyfunc.PyFuncModel:
    return mlflow.pyfunc.load_model(str(logged))


@pytest.fixture(scope="module")
def expected(network):
    """The map of a photograph by the modules of the project."""
    views = Views(*(SETTINGS[key] for key in Views._fields))
    predictor = Predictor(models.forward(models.load(network)), None, views)

    def segmented(image: np.ndarray, field: np.ndarray) -> np.ndarray:
        return segment.photograph(image, field, predictor, SETTINGS["fov_diameter"], SETTINGS["clahe"]).probability

    return segmented


@pytest.fixture(scope="module")
def post(model):
    """What the scoring server of MLflow answers to a request, as status and content, without a socket."""

    def answer(request: dict) -> tuple[int, dict]:
        arguments = json.dumps(request).encode(), "application/json", model, model.metadata.get_input_schema()
        try:
            answered = scoring_server.invocations(*arguments)
        except MlflowException as error:
            return error.get_http_status_code(), json.loads(error.serialize_as_json())
        return answered.status, json.loads(answered.response)

    return answer


def text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_model_predicts_alike_in_an_empty_folder_without_the_project_and_its_variables(logged, expected, tmp_path):
    (tmp_path / "eye.png").write_bytes(encoded(EYE.image))
    (tmp_path / "empty").mkdir()
    command = [sys.executable, "-I", "-c", ALONE, logged, tmp_path / "eye.png", tmp_path / "map.png"]
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path / "empty", env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "AutoGraph" not in done.stderr  # it looks modules up by name, where they are no more
    found = decoded((tmp_path / "map.png").read_bytes())
    whole = expected(EYE.image, fov.find(EYE.image))
    assert whole.std() > 10 * TOLERANCE
    np.testing.assert_allclose(found, whole, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("form", ["PNG", "TIFF", "array"])
@pytest.mark.parametrize("output", ["png", "array"])
def test_map_is_that_of_the_pipeline_whatever_the_form(model, expected, form, output):
    photograph = EYE.image if form == "array" else encoded(EYE.image, form)
    (answer,) = model.predict({"photograph": [photograph]}, params={"output": output})["probability"]
    found = decoded(answer) if output == "png" else answer
    np.testing.assert_allclose(found, expected(EYE.image, fov.find(EYE.image)), rtol=0, atol=TOLERANCE)


def test_photographs_of_several_sizes_with_fields_of_view_are_one_request(model, expected):
    eyes = [EYE, OTHER]
    request = pd.DataFrame({"photograph": [eye.image for eye in eyes], "fov": [eye.fov for eye in eyes]})
    answers = model.predict(request, params={"output": "array"})["probability"]
    for eye, answer in zip(eyes, answers, strict=True):
        assert answer.shape == eye.fov.shape
        assert not answer[~eye.fov].any()
        np.testing.assert_allclose(answer, expected(eye.image, eye.fov), rtol=0, atol=TOLERANCE)


def test_field_of_view_may_be_given_for_some(model, expected):
    request = pd.DataFrame({"photograph": [EYE.image, EYE.image], "fov": [EYE.fov, None]})
    given, found = model.predict(request, params={"output": "array"})["probability"]
    np.testing.assert_allclose(given, expected(EYE.image, EYE.fov), rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(found, expected(EYE.image, fov.find(EYE.image)), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    "request_of",
    [
        lambda content, field: {"dataframe_records": [{"photograph": content, "fov": field}]},
        lambda content, field: {"dataframe_split": {"columns": ["photograph", "fov"], "data": [[content, field]]}},
    ],
)
def test_request_answers_with_the_map_as_base64(post, expected, request_of):
    drawn = encoded(EYE.fov.astype(np.uint8) * 255)
    status, answer = post(request_of(text(encoded(EYE.image)), text(drawn)))
    assert status == 200
    found = decoded(base64.b64decode(answer["predictions"][0]["probability"]))
    np.testing.assert_allclose(found, expected(EYE.image, EYE.fov), rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"no picture", "photograph 2: expected a whole picture, got one that cannot be decoded"),
        (encoded(EYE.image)[:1000], "photograph 2: expected a whole picture, got one that cannot be decoded"),
        (encoded(np.zeros_like(EYE.image)), "photograph 2: expected a field of view, bright on dark"),
        (encoded(EYE.image[..., ::-1]), "photograph 2: expected a photograph of a fundus, more red than blue"),
    ],
)
def test_broken_photograph_is_a_bad_request_that_names_the_cause(post, content, cause):
    photographs = [{"photograph": text(each)} for each in (encoded(EYE.image), content)]
    status, answer = post({"dataframe_records": photographs})
    assert status == 400
    assert cause in answer["message"]
    assert len(answer["message"]) < 1000


def test_request_without_a_photograph_is_a_bad_request(post):
    status, answer = post({"dataframe_records": [{"picture": "abcd"}]})
    assert status == 400
    assert "missing inputs ['photograph']" in answer["message"]


def test_unknown_output_is_refused(model):
    with pytest.raises(MlflowException, match="output: expected one of png, array, got 'gif'"):
        model.predict({"photograph": [EYE.image]}, params={"output": "gif"})


def test_error_in_this_process_is_the_sentence_alone(model):
    with pytest.raises(MlflowException, match=r"^photograph 1: expected a whole picture"):
        model.predict({"photograph": [b"no picture"]})


def test_model_says_what_it_takes_and_needs(logged):
    described = mlflow.models.Model.load(str(logged))
    assert described.signature == logged_model.SIGNATURE
    requirements = (logged / "requirements.txt").read_text(encoding="utf-8").split()
    assert {f"tensorflow=={version('tensorflow')}", f"mlflow=={mlflow.__version__}"} <= set(requirements)
    assert not list(logged.rglob("*.pkl"))


def test_example_is_a_request_that_is_answered(logged, model, post):
    described = mlflow.models.Model.load(str(logged))
    example = described.load_input_example(str(logged))
    assert decoded(model.predict(example)["probability"][0]).shape == (128, 120)
    assert post(json.loads(described.get_serving_input(str(logged))))[0] == 200


def test_process_with_another_keras_is_told_what_to_do(logged):
    environment = {name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"}
    command = [sys.executable, "-c", f"import tensorflow, mlflow; mlflow.pyfunc.load_model({str(logged)!r})"]
    done = subprocess.run(command, env=environment, cwd=logged.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(
        "RuntimeError: expected TensorFlow with the Keras tf_keras, got keras: load the model before TensorFlow is"
    )


def test_code_of_the_model_leaves_that_of_the_process_alone(logged):
    before = list(sys.path), sys.modules["src"], sys.modules["src.predictor"]
    serving = served.load_own(logged / "artifacts" / "code", "serving")
    assert (list(sys.path), sys.modules["src"], sys.modules["src.predictor"]) == before
    assert Path(serving.__file__).is_relative_to(logged)
    assert Path(sys.modules[Predictor.__module__].__file__).parent == Path("src").resolve()
    assert serving.Predictor is not Predictor
