"""Prediction of one image file: its maps as PNG files, and its row of the table of predictions."""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.common import image_geometry
from src.common.palette import SKY, rgb
from src.data import input_validation, samples
from src.data.dicom import Acquisition
from src.inference import image_quality, vascular_biomarkers
from src.inference.onnx_model import OnnxModel

KEYS = ("sha256", "model", "tta", "field_angle", "threshold")  # they decide whether a row is up to date
COLUMNS = (
    *(
        "image",
        "id",
        "status",
        "reason",
        "width",
        "height",
        *Acquisition._fields,
        "fov_diameter",
        *vascular_biomarkers.NAMES,
        "quality",
    ),
    *KEYS,
)
DONE, REJECTED, STARTED = "done", "rejected", "started"
MAPS = ("probability", "vessels", "overlay", "uncertainty")
TINT = np.array(rgb(SKY), np.float32)  # stands out on red
TINT_OPACITY = 0.6
DECIMALS = 6
Row = dict[str, str]


class ImageJob(NamedTuple):
    """An image file, the id of its predictions and their folder."""

    file: Path
    id: str
    out: Path

    def path(self, kind: str) -> Path:
        """Return the file of one of MAPS."""
        return self.out / f"{self.id}_{kind}.png"

    def remove_maps(self) -> None:
        """Remove the maps of an earlier prediction."""
        for kind in MAPS:
            self.path(kind).unlink(missing_ok=True)


class ImagePredictor:
    """A network with the options of a run."""

    def __init__(self, network: OnnxModel, tta: bool, field_angle: float | None, threshold: float | None) -> None:
        """Predict with or without test-time augmentation, at `threshold`, or at the network's own where it is None."""
        self.network, self.tta, self.field_angle = network, tta, field_angle
        self.threshold = network.settings.threshold if threshold is None else threshold

    def started_row(self, job: ImageJob, content: bytes | None) -> Row:
        """Return the row of an image before its prediction; `content` is None where the file cannot be read."""
        known = {
            "image": str(job.file),
            "id": job.id,
            "status": STARTED,
            "sha256": "" if content is None else hashlib.sha256(content).hexdigest(),
            "model": self.network.sha256,
            "tta": str(self.tta).lower(),
            "field_angle": "" if self.field_angle is None else format_number(self.field_angle),
            "threshold": format_number(self.threshold),
        }
        return dict.fromkeys(COLUMNS, "") | known

    def is_up_to_date(self, job: ImageJob, started: Row, earlier: Row | None) -> bool:
        """Return whether the `earlier` row is of the same image, network and options, and its maps exist."""
        if earlier is None or earlier["status"] != DONE or any(started[key] != earlier[key] for key in KEYS):
            return False
        kinds = MAPS if self.network.yields_uncertainty(self.tta) else MAPS[:-1]
        return all(job.path(kind).is_file() for kind in kinds)

    def predict(self, job: ImageJob, content: bytes) -> Row:
        """Predict an image from the bytes of its file: write its maps and return its row.

        Raises:
            ValueError: the image is invalid; the message begins with its path.
            OSError: a map cannot be written.
        """
        image, fov, flags, acquisition = input_validation.read_fundus(content, str(job.file))
        prediction = self.network.predict(image, fov, self.tta, self.field_angle, self.threshold)
        vessels = self.network.binarize(prediction.probability, self.threshold)
        biomarkers = vascular_biomarkers.measure_biomarkers(vessels, fov, prediction.uncertainty)
        samples.write_probability(job.path("probability"), prediction.probability)
        samples.write_bool(job.path("vessels"), vessels)
        samples.write_image(job.path("overlay"), draw_overlay(image, vessels))
        if prediction.uncertainty is not None:
            samples.write_probability(job.path("uncertainty"), prediction.uncertainty)
        results = {
            "status": DONE,
            "width": str(image.shape[1]),
            "height": str(image.shape[0]),
            "fov_diameter": str(image_geometry.fov_diameter(fov)),
            "quality": " ".join([*image_quality.quality_flags(image, fov, biomarkers["vessel_density"]), *flags]),
        }
        numbers = {name: format_number(value) for name, value in biomarkers.items()}
        return self.started_row(job, content) | results | acquisition._asdict() | numbers


def draw_overlay(image: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """Tint the vessels (H, W) bool in an (H, W, 3) uint8 image."""
    tinted = image.copy()
    tinted[vessels] = np.rint((1 - TINT_OPACITY) * image[vessels] + TINT_OPACITY * TINT)
    return tinted


def format_number(value: float) -> str:
    """Format a number with at most six decimals; empty where it is undefined."""
    return "" if math.isnan(value) else f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
