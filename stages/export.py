"""Export the trained network as ONNX, which runs without TensorFlow."""

from pathlib import Path

from src.models import model_io, onnx_export, tensorflow_setup
from src.stage_runner import run_stage


def main(model_file: Path, onnx_file: Path, cpu_threads: int) -> None:
    """Read the network (.h5) and write it as ONNX."""
    tensorflow_setup.configure(cpu_threads)
    onnx_export.save(model_io.load(model_file), onnx_file)


if __name__ == "__main__":
    run_stage(main, lambda params: {"cpu_threads": params.train.cpu_threads})
