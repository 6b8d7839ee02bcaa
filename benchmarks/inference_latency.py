"""Measure start-up, time and memory of inference, ONNX against Keras: python -m benchmarks.inference_latency [MODEL].

MODEL is a packaged network such as models/compact.onnx, measured without Keras. Without it the network is that of
data/model/model.h5 where there is one, else that of params.yaml, untrained; it is exported, and the largest difference
between the probabilities of ONNX and Keras is printed as well.
"""

import argparse
import json
import multiprocessing
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple, ParamSpec, TypeVar

import cv2
import numpy as np
from tqdm import tqdm

from src.data import samples
from src.inference.onnx_model import ModelSettings, OnnxModel
from src.inference.sliding_window import Prediction
from src.params import load_params
from src.synthetic import generator

SHAPES = {"565x584": (584, 565), "999x960": (960, 999), "3504x2336": (2336, 3504)}
BATCHES = {"565x584": 21, "999x960": 12, "3504x2336": 4}  # images of one call of the command
REPEATS, START_UPS = 5, 3
THREADS = 2
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Predict = Callable[[np.ndarray, np.ndarray], Prediction]


class Cost(NamedTuple):
    """Seconds per image, and peak memory of the process in MB."""

    seconds: float
    memory: float


class StartUp(NamedTuple):
    """Seconds of start-up, each the best of START_UPS."""

    import_: float
    help: float
    first_prediction: float


def predict_command(images: Path, out: Path, network: Path, *more: str) -> list[str]:
    """Return the command that predicts."""
    options = ["--out", str(out), "--model", str(network), *more]
    return [sys.executable, "-m", "src", "predict", str(images), *options]


def in_own_process(
    function: Callable[Arguments, Result], *arguments: Arguments.args, **more: Arguments.kwargs
) -> Result:
    """Call a function in a process of its own, so that it has a peak memory of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments, **more).result()


def measure(predict: Predict, shape: tuple[int, int]) -> Cost:
    """Measure the prediction of a synthetic image of that shape."""
    generated = generator.generate(1, 0, *shape)
    predict(generated.image, generated.fov)
    begin = time.perf_counter()
    for _ in range(REPEATS):
        predict(generated.image, generated.fov)
    seconds = (time.perf_counter() - begin) / REPEATS
    return Cost(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def measure_onnx(network: Path, shape: tuple[int, int], tta: bool) -> Cost:
    """Measure a packaged network."""
    return measure(partial(OnnxModel(network).predict, tta=tta), shape)


def measure_keras(network: Path, settings: ModelSettings, shape: tuple[int, int], tta: bool) -> Cost:
    """Measure the network in Keras."""
    return measure(keras_predictor(network, settings, tta), shape)


def keras_predictor(network: Path, settings: ModelSettings, tta: bool) -> Predict:
    """Load the network in Keras."""
    from src.inference import segmentation
    from src.inference.sliding_window import SlidingWindowPredictor
    from src.models import architectures, model_io, tensorflow_setup

    tensorflow_setup.configure(THREADS)
    model = model_io.load(network)
    config = settings.inference_config(tta, batch_size=4)
    predictor = SlidingWindowPredictor(architectures.as_numpy_function(model), model.input_shape[1], config)
    return lambda image, fov: segmentation.segment_image(
        image, fov, predictor, settings.fov_diameter, settings.clahe_clip_limit
    )


def largest_difference(network: Path, packaged: Path) -> float:
    """Return the largest difference between the probabilities of Keras and of ONNX."""
    onnx = OnnxModel(packaged)
    generated = generator.generate(1, 0, *SHAPES["565x584"])
    predictors = (keras_predictor(network, onnx.settings, True), onnx.predict)
    maps = [predict(generated.image, generated.fov).probability for predict in predictors]
    return float(np.abs(maps[0] - maps[1]).max())


def export(folder: Path) -> tuple[Path, Path, float]:
    """Write the project's network as .h5 and packaged to `folder`; return both, and the seconds of the ONNX export."""
    from benchmarks.training_throughput import untrained_network
    from src.models import model_io, onnx_export, tensorflow_setup
    from src.serving import package_model

    params, trained = load_params(), Path("data/model/model.h5")
    tensorflow_setup.configure(THREADS)
    model = model_io.load(trained) if trained.exists() else untrained_network(params)
    model_io.save(model, folder / "model.h5")
    begin = time.perf_counter()
    onnx_export.save(model, folder / "model.onnx")
    seconds = time.perf_counter() - begin
    (folder / "validation.json").write_text(json.dumps({"validation": {"threshold": 0.5}}), encoding="utf-8")
    package_model.package(folder / "model.onnx", folder / "validation.json", params, folder / "packaged.onnx")
    return folder / "model.h5", folder / "packaged.onnx", seconds


def measure_start_up(network: Path, place: Path) -> StartUp:
    """Measure import, `--help` and the prediction of one image."""
    samples.write_image(place / "image.png", generator.generate(1, 0, *SHAPES["565x584"]).image)
    commands = (
        [sys.executable, "-c", "import src.inference.predict"],
        [sys.executable, "-m", "src", "predict", "--help"],
        predict_command(place / "image.png", place / "out", network, "--no-tta"),
    )
    return StartUp(*(min(_run_anew(command, place) for _ in range(START_UPS)) for command in commands))


def _run_anew(command: list[str], place: Path) -> float:
    """Return the seconds of a command that finds no earlier output."""
    for path in (place / "out").glob("*"):
        path.unlink()
    begin = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - begin


def measure_command(network: Path, shape: tuple[int, int], number: int, *more: str) -> Cost:
    """Measure the command per image, with reading and writing of files, without start-up.

    It is called with one image and with `number` images; call this in a process of its own.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        small = generator.generate(1, 0, shape[0] // 2, shape[1] // 2).image
        image = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)[..., ::-1]
        for count in (1, number):
            images = Path(place) / str(count)
            images.mkdir()
            for index in range(count):
                content = cv2.imencode(".jpg", np.roll(image, index, axis=1))[1]
                (images / f"{index}.jpg").write_bytes(content.tobytes())
            command = predict_command(images, Path(place) / f"{count}_out", network, *more)
            begin = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return Cost((seconds[1] - seconds[0]) / (number - 1), memory)


def print_costs(packaged: Path, keras: tuple[Path, ModelSettings] | None) -> None:
    """Print start-up of a packaged network, and time and memory of ONNX, of Keras where given, and of the command."""
    with tempfile.TemporaryDirectory() as place:
        start_up = measure_start_up(packaged, Path(place))
    print(f"import {start_up.import_:.2f} s, --help {start_up.help:.2f} s")
    print(f"one image of 565x584 without TTA, start-up and files included: {start_up.first_prediction:.2f} s")
    print("| image | TTA | measured | s/image | peak memory, MB |\n| --- | --- | --- | --- | --- |")
    for size, shape in tqdm(SHAPES.items(), desc="sizes"):
        for tta in (False, True):
            options = [] if tta else ["--no-tta"]
            found = {"ONNX": in_own_process(measure_onnx, packaged, shape, tta)}
            if keras:
                found["Keras"] = in_own_process(measure_keras, *keras, shape, tta)
            found["command"] = in_own_process(measure_command, packaged, shape, BATCHES[size], *options)
            for name, cost in found.items():
                packed = "as packed" if tta else "-"
                tqdm.write(f"| {size} | {packed} | {name} | {cost.seconds:.2f} | {cost.memory:.0f} |")


def main() -> None:
    """Measure a packaged network, or that of the project in ONNX and Keras."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference_latency", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a file of `python -m src package`")
    model = parser.parse_args().model
    if model:
        print_costs(model, None)
        return
    with tempfile.TemporaryDirectory() as place:
        network, packaged, seconds = in_own_process(export, Path(place))
        print(f"export to ONNX: {seconds:.1f} s, {packaged.stat().st_size / 1e6:.1f} MB")
        difference = in_own_process(largest_difference, network, packaged)
        print(f"largest difference of a probability, ONNX and Keras: {difference:.1e}")
        print_costs(packaged, (network, OnnxModel(packaged).settings))


if __name__ == "__main__":
    main()
