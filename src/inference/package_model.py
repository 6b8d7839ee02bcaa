"""Package the trained network with its settings into one ONNX file: `python -m src package`."""

import json
from collections.abc import Sequence
from pathlib import Path

import onnx

from src.common import atomic_io
from src.common.command_line import command_parser
from src.common.operating_point import read_threshold
from src.inference.onnx_model import KEY, ModelSettings
from src.params import Params, load_params

NETWORK, VALIDATION = Path("data/model/model.onnx"), Path("metrics/validation.json")
DESCRIPTION = """
Package the trained network of the last run for use by `python -m src predict` and `python -m src app`.

The file is the network data/model/model.onnx with its settings as metadata: field of view, CLAHE, tiles and test-time
augmentation of params.yaml, and the threshold of metrics/validation.json. The same run gives the same bytes.
"""
EXIT_CODES = {
    0: "the file is written",
    2: "a file of the run is missing or invalid (the message names the stage to run), or the file cannot be written",
}
EXAMPLES = ("models/mine.onnx",)


def package(network: Path, validation: Path, params: Params, out: Path) -> None:
    """Write the network with its settings to `out`: the same bytes for the same run.

    Raises:
        FileNotFoundError: the network or validation.json is missing.
        ValueError: validation.json holds no threshold.
    """
    for path, stage in ((network, "export"), (validation, "evaluate")):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    preprocess, evaluate = params.preprocess, params.evaluate
    settings = ModelSettings(
        fov_diameter=preprocess.fov_diameter,
        clahe_clip_limit=preprocess.clahe_clip_limit,
        tile=evaluate.tile,
        overlap=evaluate.overlap,
        threshold=read_threshold(validation),
        trained_on=tuple(params.data.train),
        tta_scales=evaluate.tta_scales,
        tta_flips=evaluate.tta_flips,
        logit_adjustment=evaluate.logit_adjustment,
        scale_weighting=evaluate.scale_weighting,
    )
    atomic_io.write_bytes(out, add_settings(network.read_bytes(), settings))


def add_settings(network: bytes, settings: ModelSettings) -> bytes:
    """Return the ONNX network with these settings among its metadata."""
    model = onnx.load_from_string(network)
    onnx.helper.set_model_props(model, {KEY: json.dumps(settings._asdict())})
    return model.SerializeToString(deterministic=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Package the run of the project folder; returns the exit code."""
    parser = command_parser("package", DESCRIPTION, EXIT_CODES, EXAMPLES)
    parser.add_argument("out", type=Path, metavar="FILE", help="file to write, such as models/mine.onnx")
    out = parser.parse_args(arguments).out
    try:
        package(NETWORK, VALIDATION, load_params(), out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(out)
    return 0
