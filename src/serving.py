"""What the logged model does, without MLflow: photographs of any kind and size in, probability maps out."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from src import intake, models, samples, segment
from src.backend import tf
from src.predictor import Predictor, Views

LEGACY = "tf_keras"  # the Keras in which networks are built and stored


def as_png(probability: np.ndarray) -> bytes:
    """A map (H, W) of probabilities in [0, 1] as a 16-bit PNG; 65535 is 1."""
    return cv2.imencode(".png", samples.to_levels(probability))[1].tobytes()


OUTPUTS: dict[str, Callable] = {"png": as_png, "array": np.asarray}


class Service:
    """A network, and how photographs are prepared for it."""

    def __init__(self, network: Path, *, fov_diameter: int, clahe: float, **views: object) -> None:
        """Load the network of an .h5; the rest is that of sections `preprocess` and `evaluate` of params.yaml.

        Args:
            network: the file.
            fov_diameter: as in `preprocess`.
            clahe: as in `preprocess`.
            views: the fields of `predictor.Views`, as in `evaluate`.

        Raises:
            RuntimeError: the process imported TensorFlow before, with another Keras than the network's.
        """
        found = tf.keras.Model.__module__.partition(".")[0]
        if found != LEGACY:
            remedy = "load the model before TensorFlow is imported, or set TF_USE_LEGACY_KERAS=1 before that"
            raise RuntimeError(f"expected TensorFlow with the Keras {LEGACY}, got {found}: {remedy}")
        model = models.load(network)
        self.predictor = Predictor(models.forward(model), model.input_shape[1], Views(**views))
        self.fov_diameter, self.clahe = fov_diameter, clahe

    def maps(self, photographs: list, fields: list, output: str) -> list:
        """The map of each photograph in the form `output`: `png`, or `array` (H, W) float32.

        Args:
            photographs: encoded bytes or (H, W, 3) uint8 arrays.
            fields: the field of view of each, as encoded bytes or (H, W) bool; None where it is to be found.
            output: a key of OUTPUTS.

        Raises:
            ValueError: an unknown form, or a photograph or field that `intake` refuses; none is answered then.
        """
        if output not in OUTPUTS:
            raise ValueError(f"output: expected one of {', '.join(OUTPUTS)}, got {output!r}")
        return [
            OUTPUTS[output](self._probability(photograph, field, f"photograph {number}"))
            for number, (photograph, field) in enumerate(zip(photographs, fields, strict=True), 1)
        ]

    def _probability(self, photograph: object, field: object, name: str) -> np.ndarray:
        image = intake.photograph(photograph, name)
        fov = intake.field_of_view(field, image, name)
        return segment.photograph(image, fov, self.predictor, self.fov_diameter, self.clahe).probability
