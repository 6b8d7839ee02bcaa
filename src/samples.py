"""The layout on disk of a subset (train, validation or test): list samples, read and write their pictures.

    <root>/samples.csv                                       dataset,id,group
    <root>/<dataset>/{images,truth,fov,second_observer}/<id>.png

Files hold 0 and 255, memory holds bool; converted here and nowhere else.
"""

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src import files

TABLE = "samples.csv"
COLUMNS = ("dataset", "id", "group")
PNG_BYTES = 1.5  # a pixel, of a photograph with its drawings or a map; DRIVE and phantoms have 1.0 to 1.3 of either


class Eye(NamedTuple):
    """One photograph with its drawings: image (H, W, 3) uint8 RGB, the others (H, W) bool."""

    id: str
    group: str
    image: np.ndarray
    truth: np.ndarray
    fov: np.ndarray
    second_observer: np.ndarray | None


class Sample(NamedTuple):
    """Where one photograph of a subset lies, and the person (group) it belongs to."""

    dataset: str
    id: str
    group: str
    folder: Path

    def path(self, kind: str) -> Path:
        """The file of one kind: images, truth, fov or second_observer."""
        return self.folder / kind / f"{self.id}.png"


def read_image(path: Path) -> np.ndarray:
    """The RGB photograph at `path`, (H, W, 3) uint8; FileNotFoundError or ValueError where there is none."""
    return cv2.cvtColor(_read(path, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def read_bool(path: Path) -> np.ndarray:
    """The two-valued picture at `path`, (H, W) bool."""
    return _read(path, cv2.IMREAD_GRAYSCALE) > 127


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an (H, W, 3) uint8 RGB image as PNG, whole or not at all."""
    _write(path, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))


def write_bool(path: Path, picture: np.ndarray) -> None:
    """Write an (H, W) bool picture as a PNG of 0 and 255, whole or not at all."""
    _write(path, picture.astype(np.uint8) * 255)


def to_levels(probability: np.ndarray) -> np.ndarray:
    """Probabilities in [0, 1] as the 16-bit levels that are stored, uint16; 65535 is 1."""
    return np.round(probability * 65535.0).astype(np.uint16)


def write_probability(path: Path, probability: np.ndarray) -> None:
    """Write an (H, W) map of probabilities in [0, 1] as a 16-bit PNG (65535 is 1), whole or not at all."""
    _write(path, to_levels(probability))


def read_levels(path: Path) -> np.ndarray:
    """The probability map at `path` as written: (H, W) uint16, 65535 is 1."""
    levels = _read(path, cv2.IMREAD_UNCHANGED)
    if levels.dtype != np.uint16 or levels.ndim != 2:
        raise ValueError(f"{path}: expected a 16-bit grey PNG, got {levels.dtype} of shape {levels.shape}")
    return levels


def map_bytes(found: list[Sample]) -> float:
    """About what a probability map of each sample takes on the disk; `PNG_BYTES` a pixel."""
    return PNG_BYTES * sum(map(pixels, found))


def pixels(sample: Sample) -> int:
    """The number of pixels of a photograph, from the head of its PNG."""
    with sample.path("images").open("rb") as file:
        head = file.read(24)
    if len(head) < 24 or not head.startswith(b"\x89PNG"):
        raise ValueError(f"{sample.path('images')}: expected a whole picture, got one that cannot be decoded")
    width, height = struct.unpack(">II", head[16:])
    return width * height


def image(sample: Sample) -> np.ndarray:
    """The photograph, (H, W, 3) uint8 RGB."""
    return read_image(sample.path("images"))


def truth(sample: Sample) -> np.ndarray:
    """The vessels of the first observer, (H, W) bool."""
    return read_bool(sample.path("truth"))


def fov(sample: Sample) -> np.ndarray:
    """The field of view, (H, W) bool."""
    return read_bool(sample.path("fov"))


def second_observer(sample: Sample) -> np.ndarray | None:
    """The vessels of the second observer, (H, W) bool, where there is one."""
    path = sample.path("second_observer")
    return read_bool(path) if path.exists() else None


def find(root: Path, least: int = 1) -> list[Sample]:
    """The samples listed in `root`/samples.csv, sorted by data set and id.

    Raises:
        FileNotFoundError: the table, or a file of a listed sample, is missing.
        ValueError: the table lists fewer than `least`.
    """
    table = root / TABLE
    if not table.exists():
        raise FileNotFoundError(f"{table}: missing; run `dvc repro download`")
    header, *rows = files.read_rows(table)
    if tuple(header) != COLUMNS:
        raise ValueError(f"{table}: expected the columns {', '.join(COLUMNS)}, got {', '.join(header):.80}")
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


def named(root: Path, names: Iterable[tuple[str, str]]) -> dict[tuple[str, str], Sample]:
    """The samples below `root` of these data sets and ids, in their order; ValueError where there is none of a name."""
    found = {(sample.dataset, sample.id): sample for sample in find(root)}
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in found:
            expected = f"expected the photograph {'/'.join(name)}, of which there are scores"
            raise ValueError(f"{root / TABLE}: {expected}, found none")
    return {name: found[name] for name in names}


def write_eye(root: Path, dataset: str, eye: Eye) -> None:
    """Write the pictures of one eye below `root`."""
    sample = Sample(dataset, eye.id, eye.group, root / dataset)
    write_image(sample.path("images"), eye.image)
    write_bool(sample.path("truth"), eye.truth)
    write_bool(sample.path("fov"), eye.fov)
    if eye.second_observer is not None:
        write_bool(sample.path("second_observer"), eye.second_observer)


def write_table(root: Path, rows: list[tuple[str, str, str]]) -> None:
    """Write samples.csv from rows (dataset, id, group), sorted."""
    files.write_rows(root / TABLE, [COLUMNS, *sorted(rows)])


def _read(path: Path, flags: int) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing")
    picture = cv2.imdecode(np.fromfile(path, np.uint8), flags) if path.stat().st_size else None
    if picture is None:
        raise ValueError(f"{path}: expected a whole picture, got one that cannot be decoded")
    return picture


def _write(path: Path, picture: np.ndarray) -> None:
    files.write_bytes(path, cv2.imencode(".png", picture)[1].tobytes())
