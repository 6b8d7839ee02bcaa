"""Export the trained network as ONNX, which runs without TensorFlow."""

import sys
from pathlib import Path

from src import backend, export, models
from src.cli import run


def main(model_file: Path, exported: Path, threads: int) -> None:
    """Read the network (.h5) and write it as .onnx."""
    backend.configure(threads)
    export.save(models.load(model_file), exported)


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:3]), params.train.threads))
