"""On-disk layout of a subset (train, validation or test): list its samples, read and write their files.

    <root>/samples.csv                                       dataset,id,group
    <root>/<dataset>/{images,truth,fov,second_observer}/<id>.png

Files hold 0 and 255, memory holds bool; converted here and nowhere else.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from src.common import atomic_io, probability_levels

TABLE = "samples.csv"
COLUMNS = ("dataset", "id", "group")
PNG_BYTES = 1.5  # per pixel, of an image with its annotations or of a probability map; DRIVE has 1.0 to 1.3
UNDECODABLE = "expected an image file, got one that cannot be decoded"


class LabelledImage(NamedTuple):
    """An image with its annotations: image (H, W, 3) uint8 RGB, the others (H, W) bool."""

    id: str
    group: str
    image: np.ndarray
    truth: np.ndarray
    fov: np.ndarray
    second_observer: np.ndarray | None


class Sample(NamedTuple):
    """An image of a subset on disk, and the patient (group) it belongs to."""

    dataset: str
    id: str
    group: str
    folder: Path

    def path(self, kind: str) -> Path:
        """Path of the file of one kind: images, truth, fov or second_observer."""
        return self.folder / kind / f"{self.id}.png"


def read_image(path: Path) -> np.ndarray:
    """Read an RGB image, (H, W, 3) uint8; FileNotFoundError or ValueError where there is none."""
    return cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_bool(path: Path) -> np.ndarray:
    """Read a binary image, (H, W) bool."""
    return _read(path, cv2.IMREAD_GRAYSCALE) > 127


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image as PNG, atomically."""
    _write(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_bool(path: Path, binary: np.ndarray) -> None:
    """Write an (H, W) bool image as a PNG of 0 and 255, atomically."""
    _write(path, binary.astype(np.uint8) * 255)


def write_probability(path: Path, probability: np.ndarray) -> None:
    """Write an (H, W) map of probabilities in [0, 1] as a 16-bit PNG (65535 is 1), atomically."""
    _write(path, probability_levels.to_levels(probability))


def read_levels(path: Path) -> np.ndarray:
    """Read a probability map as its stored levels: (H, W) uint16, 65535 is 1."""
    levels = _read(path, cv2.IMREAD_UNCHANGED)
    if levels.dtype != np.uint16 or levels.ndim != 2:
        raise ValueError(f"{path}: expected a 16-bit greyscale PNG, got {levels.dtype} of shape {levels.shape}")
    return levels


def maps_size_bytes(found: Iterable[Sample]) -> float:
    """Estimate the bytes on disk of a probability map of each sample; `PNG_BYTES` per pixel."""
    return PNG_BYTES * sum(map(pixel_count, found))


def pixel_count(sample: Sample) -> int:
    """Read the number of pixels of an image from the header of its PNG."""
    path = sample.path("images")
    try:
        with Image.open(path, formats=["PNG"]) as opened:
            return opened.width * opened.height
    except (SyntaxError, ValueError, Image.DecompressionBombError, UnidentifiedImageError) as error:
        raise ValueError(f"{path}: {UNDECODABLE}") from error


def image(sample: Sample) -> np.ndarray:
    """Read the image, (H, W, 3) uint8 RGB."""
    return read_image(sample.path("images"))


def truth(sample: Sample) -> np.ndarray:
    """Read the vessels that the first observer annotated, (H, W) bool."""
    return read_bool(sample.path("truth"))


def fov(sample: Sample) -> np.ndarray:
    """Read the field of view, (H, W) bool."""
    return read_bool(sample.path("fov"))


def second_observer(sample: Sample) -> np.ndarray | None:
    """Read the vessels that the second observer annotated, (H, W) bool; None where there is no such annotation."""
    path = sample.path("second_observer")
    return read_bool(path) if path.exists() else None


def find(root: Path, least: int = 1) -> list[Sample]:
    """Return the samples listed in `root`/samples.csv, sorted by data set and id.

    Raises:
        FileNotFoundError: the table, or a file of a listed sample, is missing.
        ValueError: the table lists fewer than `least`.
    """
    table = root / TABLE
    if not table.exists():
        raise FileNotFoundError(f"{table}: missing; run `dvc repro download`")
    header, *rows = atomic_io.read_rows(table)
    if tuple(header) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {', '.join(COLUMNS)}, got {', '.join(header)!r:.80}")
    for row in rows:
        if len(row) != len(COLUMNS) or not all(map(str.isprintable, row)) or not all(row):
            raise ValueError(f"{table}: expected {', '.join(COLUMNS)} in every row, got {row!r:.80}")
    if len(rows) < least:
        raise ValueError(f"{table}: expected at least one sample, found none")
    found = [Sample(dataset, id_, group, root / dataset) for dataset, id_, group in sorted(map(tuple, rows))]
    for sample in found:
        for kind in ("images", "truth", "fov"):
            if not sample.path(kind).exists():
                raise FileNotFoundError(f"{sample.path(kind)}: missing, though {table} lists it")
    return found


def find_by_id(root: Path, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Sample]:
    """Return the samples below `root` with these data sets and ids, in their order; ValueError for one not listed."""
    found = {(sample.dataset, sample.id): sample for sample in find(root)}
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in found:
            raise ValueError(f"{root / TABLE}: expected the image {'/'.join(name)}, which has scores, found none")
    return {name: found[name] for name in names}


def write_labelled_image(root: Path, dataset: str, labelled: LabelledImage) -> None:
    """Write an image and its annotations below `root`."""
    sample = Sample(dataset, labelled.id, labelled.group, root / dataset)
    write_image(sample.path("images"), labelled.image)
    write_bool(sample.path("truth"), labelled.truth)
    write_bool(sample.path("fov"), labelled.fov)
    if labelled.second_observer is not None:
        write_bool(sample.path("second_observer"), labelled.second_observer)


def write_table(root: Path, rows: Sequence[tuple[str, str, str]]) -> None:
    """Write samples.csv from rows (dataset, id, group), sorted."""
    atomic_io.write_rows(root / TABLE, [COLUMNS, *sorted(rows)])


def _read(path: Path, flags: int) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing")
    decoded = cv2.imdecode(np.fromfile(path, np.uint8), flags) if path.stat().st_size else None
    if decoded is None:
        raise ValueError(f"{path}: {UNDECODABLE}")
    return decoded


def _write(path: Path, array: np.ndarray) -> None:
    atomic_io.write_bytes(path, cv2.imencode(".png", array)[1].tobytes())
