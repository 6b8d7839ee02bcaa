"""Prediction of the served model, without MLflow: images of any kind and size in, maps of vessel probability out."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from src.common import probability_levels
from src.data import input_validation
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.models import architectures, model_io
from src.models.tensorflow_setup import tf

KERAS = "tf_keras"  # the Keras in which networks are built and stored

Map = bytes | np.ndarray


def as_png(probability: np.ndarray) -> bytes:
    """Encode a map (H, W) of probabilities in [0, 1] as a 16-bit PNG; 65535 is 1."""
    return cv2.imencode(".png", probability_levels.to_levels(probability))[1].tobytes()


OUTPUTS: dict[str, Callable[[np.ndarray], Map]] = {"png": as_png, "array": np.asarray}


class Service:
    """A network, and how images are prepared for it and predicted."""

    def __init__(
        self,
        network: Path,
        *,
        fov_diameter: int,
        clahe_clip_limit: float,
        tta_scales: Sequence[float],
        **inference: Any,
    ) -> None:
        """Load the network of an .h5; all else is as in sections `preprocess` and `evaluate` of params.yaml.

        Raises:
            RuntimeError: the process imported TensorFlow before, with another Keras than the network's.
        """
        found = tf.keras.Model.__module__.partition(".")[0]
        if found != KERAS:
            remedy = "load the model before TensorFlow is imported, or set TF_USE_LEGACY_KERAS=1 before that"
            raise RuntimeError(f"expected TensorFlow with the Keras {KERAS}, got {found}: {remedy}")
        model = model_io.load(network)
        config = InferenceConfig(tta_scales=tuple(tta_scales), **inference)
        forward = architectures.as_numpy_function(model)
        self.predictor = SlidingWindowPredictor(forward, model.input_shape[1], config)
        self.fov_diameter, self.clahe_clip_limit = fov_diameter, clahe_clip_limit

    def predict(self, images: Sequence[object], fovs: Sequence[object], output: str) -> list[Map]:
        """Return the map of each image in the form `output`: `png`, or `array` (H, W) float32.

        Args:
            images: bytes of image files, or (H, W, 3) uint8 arrays.
            fovs: the field of view of each, as bytes of an image file or (H, W) bool; None: detected.
            output: a key of OUTPUTS.

        Raises:
            ValueError: an unknown form, or an invalid image or field of view, which ends the prediction.
        """
        if output not in OUTPUTS:
            raise ValueError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
        named = [
            (image, fov, f"image {number}") for number, (image, fov) in enumerate(zip(images, fovs, strict=True), 1)
        ]
        return [OUTPUTS[output](self._predict(image, fov, name)) for image, fov, name in named]

    def _predict(self, given_image: object, given_fov: object, name: str) -> np.ndarray:
        image, fov, *_ = input_validation.read_fundus(given_image, name, given_fov)
        return segmentation.segment_image(
            image, fov, self.predictor, self.fov_diameter, self.clahe_clip_limit
        ).probability
