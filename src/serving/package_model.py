"""Package the trained network with its settings into one ONNX file: `python -m src package`."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx

from src.common import atomic_io
from src.common.command_line import command_parser, user_path
from src.common.operating_point import read_threshold
from src.evaluation import pipeline_status
from src.evaluation.git_revisions import WORKING
from src.evaluation.pipeline_status import LOCK
from src.inference.onnx_model import KEY, ModelSettings
from src.params import Params, load_params
from src.serving import quantization

NETWORK, VALIDATION = Path("data/model/model.onnx"), Path("metrics/validation.json")
MODEL = "data/model/model.h5"
TRAINING_IMAGES = Path("data/raw/train")
SECTIONS = ("preprocess", "evaluate")  # parameters that go into the file
DESCRIPTION = """
Package the trained network of the last run for use by `python -m src predict` and `python -m src app`.

The file is the network data/model/model.onnx with its settings as metadata: field of view, CLAHE, tiles and test-time
augmentation of params.yaml, and the threshold of metrics/validation.json. The same run gives the same bytes. Files or
parameters that changed after the last run, as dvc.lock has it, are rejected.

With --int8 the network computes in 8-bit integers. On processors with instructions for them (VNNI), a compact network
is 2.5 times as fast, the U-Net with EfficientNetB0 encoder 1.5 times. With AVX2 alone, a compact one is 1.8 times as
fast. It is calibrated on the images in data/raw/train, which are not checked. Probabilities differ a little; a mean
difference above .01 is rejected. Another kind of processor may give other bytes.
"""
EXIT_CODES = {
    0: "the file is written",
    2: "a file of the run is missing, invalid or of another run (the message names the stage), or the file cannot be "
    "written",
}
EXAMPLES = ("models/mine.onnx", "models/mine.onnx --int8")


def package(network: Path, validation: Path, params: Params, out: Path, calibration: Path | None = None) -> None:
    """Write the network with its settings to `out`: the same bytes for the same run.

    With `calibration`, a folder of images as stage download writes it, the network is quantized.

    Raises:
        FileNotFoundError: the network, validation.json or an image is missing.
        ValueError: validation.json holds no threshold, images are invalid, or the network cannot be quantized.
    """
    preprocess, evaluate = params.preprocess, params.evaluate
    settings = ModelSettings(
        **preprocess.model_dump(),
        **evaluate.model_dump(include=set(ModelSettings._fields) - {"threshold"}),
        threshold=read_threshold(validation),
        trained_on=tuple(params.data.train),
    )
    content = network.read_bytes()
    if calibration is not None:
        content = quantization.quantize(content, calibration, settings)
    atomic_io.write_bytes(out, add_settings(content, settings))


def check_last_run(params: Params) -> None:
    """Check that network, threshold and parameters are those of the last run, as dvc.lock has them.

    Raises:
        FileNotFoundError: network or threshold is missing.
        ValueError: one of them is another.
    """
    for path, stage in ((NETWORK, "export"), (VALIDATION, "evaluate")):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    advice = "; run `dvc repro`"
    lock = pipeline_status.read_lock(WORKING)
    outs = lock.outs()
    for path in (NETWORK, VALIDATION):
        expected, found = outs.get(path.as_posix()), hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if found != expected:
            raise ValueError(f"{path}: expected md5 {expected} as in {LOCK}, got {found}{advice}")
    models = {dep.md5 for name in ("export", "evaluate") for dep in lock.stages[name].deps if dep.path == MODEL}
    if len(models) > 1:
        raise ValueError(f"{NETWORK}: expected the network that was evaluated, got another one{advice}")
    downloaded: Any = lock.params(TRAINING_IMAGES.as_posix(), "data") or {}
    if downloaded.get("train") != params.data.train:
        expected = f"expected {downloaded.get('train')} as in the last run, got {params.data.train}"
        raise ValueError(f"params.yaml: data.train: {expected}{advice}")
    for section in SECTIONS:
        run: Any = lock.params(VALIDATION.as_posix(), section) or {}
        for key, value in params.model_dump(mode="json")[section].items():
            if run.get(key) != value:
                expected = f"expected {run.get(key)!r} as in the last run, got {value!r}"
                raise ValueError(f"params.yaml: {section}.{key}: {expected}{advice}")


def add_settings(network: bytes, settings: ModelSettings) -> bytes:
    """Return the ONNX network with these settings among its metadata."""
    model = onnx.load_from_string(network)
    onnx.helper.set_model_props(model, {KEY: json.dumps(settings._asdict())})
    return model.SerializeToString(deterministic=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Package the run of the project folder; returns the exit code."""
    parser = command_parser("package", DESCRIPTION, EXIT_CODES, EXAMPLES)
    parser.add_argument("out", type=user_path, metavar="FILE", help="file to write, such as models/mine.onnx")
    parser.add_argument("--int8", action="store_true", help="compute in 8-bit integers, calibrated on data/raw/train")
    options = parser.parse_args(arguments)
    try:
        params = load_params()
        check_last_run(params)
        package(NETWORK, VALIDATION, params, options.out, TRAINING_IMAGES if options.int8 else None)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(options.out)
    return 0
