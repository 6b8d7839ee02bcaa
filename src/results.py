"""The results of one photograph: its maps as files, and a row of numbers."""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src import intake, measures, quality, samples
from src.colours import SKY, rgb
from src.exported import Exported

COLUMNS = (
    *("photograph", "id", "status", "reason", "width", "height", *measures.NAMES, "quality"),
    *("sha256", "model", "flips", "threshold"),
)
DONE, REFUSED, BEGUN = "done", "refused", "begun"
KINDS = ("probability", "vessels", "overlay", "doubt")
TINT = np.array(rgb(SKY), np.float32)  # which is seen on red
STRENGTH = 0.6  # of the tint
DIGITS = 6


class Task(NamedTuple):
    """One photograph: its file, the name of its results and their folder."""

    file: Path
    id: str
    out: Path

    def path(self, kind: str) -> Path:
        """The file of one of KINDS."""
        return self.out / f"{self.id}_{kind}.png"


class Segmenter:
    """A network with the settings of a call: photographs in, files and rows out."""

    def __init__(self, network: Exported, flips: bool, threshold: float | None) -> None:
        """Predict with or without flips, and at another threshold than the network's own where one is given."""
        self.network, self.flips = network, flips
        self.threshold = network.settings.threshold if threshold is None else threshold

    def row(self, task: Task, content: bytes | None) -> dict[str, str]:
        """Those cells of a photograph's row that are known before it is predicted, the others empty.

        `content` is None where the file cannot be read.
        """
        known = {
            "photograph": str(task.file),
            "id": task.id,
            "status": BEGUN,
            "sha256": "" if content is None else hashlib.sha256(content).hexdigest(),
            "model": self.network.sha256,
            "flips": str(self.flips).lower(),
            "threshold": cell(self.threshold),
        }
        return dict.fromkeys(COLUMNS, "") | known

    def is_done(self, task: Task, begun: dict[str, str], before: dict[str, str] | None) -> bool:
        """Whether the row `before` tells of the same photograph, network and settings, and the files are there."""
        kinds = KINDS if self.flips else KINDS[:-1]
        same = before is not None and before["status"] == DONE
        same = same and all(begun[name] == before[name] for name in ("sha256", "model", "flips", "threshold"))
        return same and all(task.path(kind).is_file() for kind in kinds)

    def segment(self, task: Task, content: bytes) -> dict[str, str]:
        """Write the files of a photograph, given as the bytes of its file, and return its row.

        Raises:
            ValueError: the photograph is refused, with a sentence that begins with its path.
            OSError: a file cannot be written.
        """
        image = intake.photograph(content, str(task.file))
        fov = intake.field_of_view(None, image, str(task.file))
        maps = self.network.maps(image, fov, self.flips)
        vessels = self.network.vessels(maps.probability, self.threshold)
        size = {"width": str(image.shape[1]), "height": str(image.shape[0])}
        measured = {name: cell(value) for name, value in measures.measure(vessels, fov, maps.doubt).items()}
        said = {"status": DONE, "quality": " ".join(quality.flags(image, fov))}
        samples.write_probability(task.path("probability"), maps.probability)
        samples.write_bool(task.path("vessels"), vessels)
        samples.write_image(task.path("overlay"), overlay(image, vessels))
        if maps.doubt is not None:
            samples.write_probability(task.path("doubt"), maps.doubt)
        return self.row(task, content) | size | measured | said


def remove(task: Task) -> None:
    """Remove what an earlier call left of a photograph."""
    for kind in KINDS:
        task.path(kind).unlink(missing_ok=True)


def overlay(image: np.ndarray, vessels: np.ndarray) -> np.ndarray:
    """The (H, W, 3) uint8 photograph with its vessels (H, W) bool tinted."""
    tinted = image.copy()
    tinted[vessels] = np.rint((1 - STRENGTH) * image[vessels] + STRENGTH * TINT)
    return tinted


def cell(value: float) -> str:
    """A number with six digits after the point, at most; empty where it is undefined."""
    return "" if math.isnan(value) else f"{value:.{DIGITS}f}".rstrip("0").rstrip(".")
