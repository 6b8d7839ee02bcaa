"""A packaged network: ONNX with its settings, run by onnxruntime without TensorFlow.

`python -m src package` writes such a file: an ONNX network with `ModelSettings` among its metadata.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from src.common import atomic_io, probability_levels
from src.common.reference_scale import REFERENCE_FIELD_ANGLE
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, Prediction, SlidingWindowPredictor

DEFAULT_MODEL = Path(__file__).parents[2] / "models" / "compact.onnx"
KEY = "settings"  # of the metadata
RENAMED = {"clahe": "clahe_clip_limit", "scales": "tta_scales"}  # in networks packed by earlier versions
INVALID = (
    *(errors.InvalidProtobuf, errors.InvalidGraph, errors.InvalidArgument, errors.Fail, errors.NotImplemented),
    UnicodeDecodeError,  # of a message that holds a damaged name
)
OUT_OF_MEMORY = (errors.Fail, errors.RuntimeException)  # of onnxruntime, where the message is about an allocation
BATCH_SIZE = 1  # flips at once: more are no faster on a CPU, and take as much more memory
ERRORS_ONLY = 3  # severity of onnxruntime's log


class ModelSettings(NamedTuple):
    """How the network is used, as it was evaluated; keys as in params.yaml."""

    fov_diameter: int
    clahe_clip_limit: float
    tile: int
    overlap: int
    threshold: float
    trained_on: tuple[str, ...]  # names of data sets
    tta_scales: tuple[float, ...]
    tta_flips: bool = True  # networks packed by earlier versions do not say
    logit_adjustment: bool = False  # nor this
    scale_weighting: bool = False  # nor this
    hysteresis_threshold: float | None = None  # nor this
    min_scale_factor: float = 1.0  # nor this
    thin_vessel_extension: float = 0.0  # nor this

    def inference_config(self, tta: bool, batch_size: int) -> InferenceConfig:
        """Return how images are predicted, with or without test-time augmentation."""
        shared = {name: value for name, value in self._asdict().items() if name in InferenceConfig._fields}
        without = {} if tta else {"tta_flips": False, "tta_scales": (1.0,), "min_scale_factor": 1.0}
        return InferenceConfig(batch_size=batch_size, **(shared | without))


class OnnxModel:
    """A packaged network with its `settings` and the `sha256` of its file."""

    def __init__(self, path: Path, threads: int = 2) -> None:
        """Load the file at `path`, to run on that many CPU threads.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no ONNX network, or one without settings.
        """
        if not path.is_file():
            raise FileNotFoundError(f"{path}: missing; `python -m src package {path}` packs the trained network")
        content = path.read_bytes()
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.session = _load_session(content, path, threads)
        self.settings = _read_settings(self.session, path)

    def predict(
        self,
        image: np.ndarray,
        fov: np.ndarray,
        tta: bool = True,
        field_angle: float | None = None,
        threshold: float | None = None,
    ) -> Prediction:
        """Predict probability and uncertainty, each (H, W) float32 in [0, 1], 0 outside the FOV.

        Args:
            image: (H, W, 3) uint8 RGB of any size.
            fov: its field of view, (H, W) bool with at least one pixel.
            tta: whether to average over the flips and scales of the settings; without, the image is predicted once,
                and the uncertainty is None.
            field_angle: angle of view of the camera in degrees, where it is known: a wider field is enlarged, so that
                vessels have their usual width in pixels. None: REFERENCE_FIELD_ANGLE.
            threshold: where extension of thin vessels and hysteresis take effect; None: at any that is applied later.

        Raises:
            MemoryError: the memory does not suffice.
        """
        settings = self.settings
        config = settings.inference_config(tta, BATCH_SIZE)._replace(threshold=threshold)
        predictor = SlidingWindowPredictor(self._forward, _input_size(self.session), config)
        diameter = round(settings.fov_diameter * (field_angle or REFERENCE_FIELD_ANGLE) / REFERENCE_FIELD_ANGLE)
        return segmentation.segment_image(image, fov, predictor, diameter, settings.clahe_clip_limit)

    def yields_uncertainty(self, tta: bool) -> bool:
        """Return whether `predict` averages several predictions, and so yields the uncertainty."""
        return tta and (self.settings.tta_flips or len(self.settings.tta_scales) > 1)

    def binarize(self, probability: np.ndarray, threshold: float | None = None) -> np.ndarray:
        """Return where the probability exceeds `threshold`, by default that of the settings, (H, W) bool.

        The 16-bit levels that are stored are compared, as in evaluation.
        """
        limit = self.settings.threshold if threshold is None else threshold
        return probability_levels.above(probability_levels.to_levels(probability), limit)

    def _forward(self, images: np.ndarray) -> np.ndarray:
        try:
            return self.session.run(None, {self.session.get_inputs()[0].name: images})[0]
        except OUT_OF_MEMORY as error:
            if "allocate" in str(error):
                raise MemoryError(str(error)) from error
            raise


def _load_session(content: bytes, path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = ERRORS_ONLY
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except INVALID as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: expected an ONNX network, got a file that onnxruntime rejects ({reason})") from error


def _read_settings(session: onnxruntime.InferenceSession, path: Path) -> ModelSettings:
    try:
        metadata = session.get_modelmeta().custom_metadata_map
        values: Any = {
            RENAMED.get(key, key): tuple(value) if isinstance(value, list) else value
            for key, value in atomic_io.parse_json(metadata[KEY], KEY).items()
        }
        settings = ModelSettings(**values)
        _check(settings)
        return settings
    except (KeyError, TypeError, ValueError) as error:
        expected = "expected a network packed by `python -m src package`"
        raise ValueError(f"{path}: {expected}, got one without settings of this version ({error})") from error


def _check(settings: ModelSettings) -> None:
    """Raise ValueError where a setting has another type or range than `package` writes."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "fov_diameter": int,
        "clahe_clip_limit": (int, float),
        "tile": int,
        "overlap": int,
        "threshold": float,
        "trained_on": tuple,
        "tta_scales": tuple,
    }
    for name, kind in kinds.items():
        value = getattr(settings, name)
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError(f"{name}: unexpected value {value!r:.80}")
    for name in ("tta_flips", "logit_adjustment", "scale_weighting"):
        if not isinstance(getattr(settings, name), bool):
            raise ValueError(f"{name}: unexpected value {getattr(settings, name)!r:.80}")
    high = settings.hysteresis_threshold
    if high is not None and not (isinstance(high, float) and 0 < high < 1):
        raise ValueError(f"hysteresis_threshold: unexpected value {high!r:.80}")
    if not (isinstance(settings.min_scale_factor, float) and 0 < settings.min_scale_factor <= 1):
        raise ValueError(f"min_scale_factor: unexpected value {settings.min_scale_factor!r:.80}")
    if not (isinstance(settings.thin_vessel_extension, float) and 0 <= settings.thin_vessel_extension <= 5):
        raise ValueError(f"thin_vessel_extension: unexpected value {settings.thin_vessel_extension!r:.80}")
    scales = settings.tta_scales
    if not 0 < settings.threshold < 1 or min(settings.fov_diameter, settings.tile) < 1 or settings.overlap < 0:
        raise ValueError("threshold, fov_diameter, tile or overlap out of range")
    if not scales or not all(isinstance(scale, int | float) and 0.1 <= scale <= 10 for scale in scales):
        raise ValueError(f"tta_scales: unexpected value {scales!r:.80}")


def _input_size(session: onnxruntime.InferenceSession) -> int | None:
    """Return the side of the input in pixels where it is fixed, else None."""
    height = session.get_inputs()[0].shape[1]
    return height if isinstance(height, int) else None
