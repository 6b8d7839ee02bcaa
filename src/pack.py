"""Pack the network that was trained, with all that a user of it needs, into one file: python -m src.pack OUT.onnx.

It is data/model/model.onnx with Settings (see `src.exported`) from params.yaml and metrics/validation.json.
"""

import argparse
import json
from pathlib import Path

import onnx

from src import exported, files
from src.cli import run
from src.params import Params

NETWORK, VALIDATION = Path("data/model/model.onnx"), Path("metrics/validation.json")


def pack(network: Path, validation: Path, params: Params, out: Path) -> None:
    """Write the network with its settings to `out`: the same bytes for the same run.

    Raises:
        FileNotFoundError: the network or the table of validation is missing.
    """
    for path, stage in ((network, "export"), (validation, "evaluate")):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; run `dvc repro {stage}`")
    threshold = _threshold(validation)
    preprocess, evaluate = params.preprocess, params.evaluate
    settings = exported.Settings(
        fov_diameter=preprocess.fov_diameter,
        clahe=preprocess.clahe,
        tile=evaluate.tile,
        overlap=evaluate.overlap,
        threshold=threshold,
        trained_on=tuple(params.data.train),
        scales=evaluate.scales,
    )
    files.write_bytes(out, packed(network.read_bytes(), settings))


def _threshold(validation: Path) -> float:
    """The threshold in validation.json; ValueError that names the file where there is none."""
    section = files.read_json(validation).get("validation")
    return files.share(section.get("threshold") if isinstance(section, dict) else None, f"{validation}: threshold")


def packed(network: bytes, settings: exported.Settings) -> bytes:
    """The ONNX network with these settings among its metadata."""
    model = onnx.load_from_string(network)
    onnx.helper.set_model_props(model, {exported.KEY: json.dumps(settings._asdict())})
    return model.SerializeToString(deterministic=True)


def main() -> None:
    """Pack what lies in the project folder."""
    parser = argparse.ArgumentParser(prog="python -m src.pack", description=__doc__)
    parser.add_argument("out", type=Path, help="file to write, such as models/compact.onnx")
    out = parser.parse_args().out
    run(lambda params: pack(NETWORK, VALIDATION, params, out))


if __name__ == "__main__":
    main()
