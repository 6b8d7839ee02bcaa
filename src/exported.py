"""A network in one file that says how to use it, run by onnxruntime: nothing of TensorFlow is imported.

`src.pack` makes such a file: an ONNX network with Settings among its metadata.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from src import files, metrics, samples, segment
from src.predictor import Maps, Predictor, Views

KEY = "settings"  # of the metadata
REFUSED = (errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail, errors.NotImplemented)
BATCH_SIZE = 1  # flips at once: more are no faster on a processor, and take as much more memory
ERRORS_ONLY = 3  # of onnxruntime's levels of severity


class Settings(NamedTuple):
    """How the network is used as it was evaluated; `threshold` and the like as in params.yaml."""

    fov_diameter: int
    clahe: float
    tile: int
    overlap: int
    threshold: float
    trained_on: tuple[str, ...]  # names of data sets
    scales: tuple[float, ...]


class Exported:
    """A packed network, with its `settings` and the `sha256` of its file."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        """Load the file at `path`, to run on that many threads.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not an ONNX network, or one without settings.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; `python -m src.pack {path}` packs the network that was trained")
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.session = _session(content, path, threads)
        self.settings = _settings(self.session.get_modelmeta().custom_metadata_map, path)

    def maps(self, photograph: np.ndarray, fov: np.ndarray, flips: bool = True) -> Maps:
        """Probability of vessel and doubt, each (H, W) float32 in [0, 1], 0 outside the FOV.

        Args:
            photograph: (H, W, 3) uint8 RGB of any size.
            fov: its field of view, (H, W) bool with at least one pixel.
            flips: whether to take the mean over four flips; without, there is no doubt (None).
        """
        views = Views(self.settings.tile, self.settings.overlap, flips, BATCH_SIZE, self.settings.scales)
        predictor = Predictor(self._forward, _side(self.session), views)
        return segment.photograph(photograph, fov, predictor, self.settings.fov_diameter, self.settings.clahe)

    def vessels(self, probability: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """The map `probability` beyond the threshold, of Settings unless another is given, (H, W) bool.

        It is taken of the 16-bit levels that are stored, as evaluation takes it.
        """
        limit = self.settings.threshold if threshold is None else threshold
        return samples.to_levels(probability) >= metrics.first_level(limit)

    def _forward(self, images: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]


def _session(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ONLY
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except REFUSED as error:
        raise ValueError(f"{path}: expected an ONNX network, got a file that onnxruntime refuses ({error})") from error


def _settings(metadata: dict[str, str], path: Path) -> Settings:
    try:
        values = files.parse_json(metadata[KEY], KEY)
        return Settings(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})
    except (KeyError, TypeError, ValueError) as error:
        expected = "expected a network packed by `python -m src.pack`"
        raise ValueError(f"{path}: {expected}, got one without settings of this version ({error})") from error


def _side(session: onnxruntime.InferenceSession) -> int | None:
    """Height and width of the input where they are fixed, else None."""
    height = session.get_inputs()[0].shape[1]
    return height if isinstance(height, int) else None
