"""Quantization of an ONNX network: 8-bit integers in place of floating-point numbers (post-training, static).

Processors with instructions for them compute convolutions of 8-bit integers faster (Jacob et al., CVPR 2018). The range
of each value is calibrated on images. Weights have 7 bits, so that sums are exact on older processors, too. Logits stay
in floating point: they need finer steps.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from src.data import samples
from src.inference.onnx_model import ERRORS_ONLY, ModelSettings
from src.preprocessing import normalization, patches

OPERATIONS = ["Conv", "MatMul", "Relu", "Add", "MaxPool", "Concat", "Resize", "SpaceToDepth"]
OPTIONS = {
    "CalibMovingAverage": True,  # mean limits of the images: a single bright one does not make all steps coarse
    "OpTypesToExcludeOutputQuantization": ["MatMul"],  # logits, see `onnx_folding`
}
N_CROPS = 64
CROP_SIDE = 512  # pixels
MOST_DIFFERENT = 0.01  # largest mean difference of probabilities that is accepted


class _Reader(quantization.CalibrationDataReader):
    """Crops as onnxruntime's calibration reads them."""

    def __init__(self, crops: list[np.ndarray]) -> None:
        self.crops = iter(crops)

    def get_next(self) -> dict[str, np.ndarray] | None:
        """Return the next input of the network, or None after the last."""
        crop = next(self.crops, None)
        return None if crop is None else {"image": crop}


def calibration_crops(folder: Path, settings: ModelSettings, side: int) -> Iterator[np.ndarray]:
    """Yield N_CROPS inputs (1, side, side, 3) float32, the centres of images that are spread over a subset.

    Images are prepared at each of the scales of the settings in turn. What is beyond the FOV matters to no map, and
    would widen the ranges.

    Raises:
        FileNotFoundError: the subset, or a file of it, is missing.
        ValueError: it is invalid, or has no images.
    """
    found = samples.find(folder)
    for number, index in enumerate(np.linspace(0, len(found) - 1, N_CROPS).round().astype(int)):
        diameter = round(settings.fov_diameter * settings.tta_scales[number % len(settings.tta_scales)])
        image, fov = samples.image(found[index]), samples.fov(found[index])
        prepared = normalization.prepare(image, fov, diameter, settings.clahe_clip_limit)
        corner = (np.array(prepared.fov.shape) - side) // 2
        yield patches.extract_patch(prepared.image, corner, side)[None].astype(np.float32)


def quantize(network: bytes, folder: Path, settings: ModelSettings) -> bytes:
    """Return the ONNX network in 8-bit integers, calibrated on the images of a subset; see `calibration_crops`.

    Raises:
        FileNotFoundError, ValueError: the images are missing or invalid.
        ValueError: probabilities would differ by more than MOST_DIFFERENT in the mean.
    """
    onnxruntime.set_default_logger_severity(ERRORS_ONLY)
    with tempfile.TemporaryDirectory() as scratch:
        given, source, target = (Path(scratch) / f"{step}.onnx" for step in ("given", "source", "target"))
        given.write_bytes(network)
        quant_pre_process(given, source, skip_symbolic_shape=True)
        graph = onnx.load(source).graph
        side = graph.input[0].type.tensor_type.shape.dim[1].dim_value or CROP_SIDE
        crops = list(calibration_crops(folder, settings, side))
        quantization.quantize_static(
            source,
            target,
            _Reader(crops),
            per_channel=True,
            reduce_range=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            op_types_to_quantize=OPERATIONS,
            nodes_to_exclude=_float_nodes(graph),
            extra_options=OPTIONS,
        )
        sessions = [onnxruntime.InferenceSession(path) for path in (given, target)]
        difference = np.concatenate([_differences(sessions, crop) for crop in crops]).mean()
        if not difference <= MOST_DIFFERENT:  # nor nan, where no crop shows the FOV
            expected = f"expected probabilities that differ by at most {MOST_DIFFERENT} in the mean in 8-bit integers"
            raise ValueError(f"{expected}, got {difference:.3f}; package it without --int8")
        return target.read_bytes()


def _differences(sessions: list[onnxruntime.InferenceSession], crop: np.ndarray) -> np.ndarray:
    """Return the absolute differences (N,) of the probabilities that two networks predict at the pixels of the FOV."""
    first, second = (session.run(None, {"image": crop})[0] for session in sessions)
    return np.abs(first - second)[(crop != patches.NEUTRAL).any(axis=-1)].ravel()


def _float_nodes(graph: onnx.GraphProto) -> list[str]:
    """Return the names of convolutions to one channel, which are logits, and of additions without a feature."""
    n_channels = {constant.name: constant.dims[0] for constant in graph.initializer if constant.dims}
    logits = [node for node in graph.node if node.op_type == "Conv" and n_channels.get(node.input[1]) == 1]
    features = {node.output[0] for node in graph.node if node.op_type in ("Conv", "Resize") and node not in logits}
    additions = [node for node in graph.node if node.op_type == "Add" and not features.intersection(node.input)]
    return [node.name for node in (*logits, *additions)]
