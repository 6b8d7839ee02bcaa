"""Small image files in the layout of the public and custom data sets, for tests."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from src.data import datasets, locate_files
from src.data.samples import LabelledImage
from src.data.splits import Uses

BOTH, TRAIN, TEST = Uses(True, True), Uses(True, False), Uses(False, True)
HEIGHT, WIDTH = 60, 70


def fundus_image(seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """A bright disc on black; its red depends on the seed."""
    y, x = np.mgrid[: size[0], : size[1]]
    inside = np.hypot(y - size[0] / 2, x - size[1] / 2) < 0.45 * min(size)
    return np.where(inside[..., None], np.array([250 - 3 * seed % 150, 110, 60], np.uint8), np.uint8(0))


def annotation(size: tuple[int, int] = (HEIGHT, WIDTH)) -> np.ndarray:
    """One vessel, 30 pixels long."""
    vessels = np.zeros(size, np.uint8)
    vessels[size[0] // 2, 20:50] = 255
    return vessels


def encoded(array: np.ndarray, suffix: str) -> bytes:
    if suffix in (".gif", ".ppm"):
        stream = io.BytesIO()
        Image.fromarray(array).save(stream, suffix[1:])
        return stream.getvalue()
    bgr = array[..., ::-1] if array.ndim == 3 else array
    return cv2.imencode(suffix.lower(), bgr)[1].tobytes()


def set_files(name: str) -> dict[str, bytes]:
    """A small file for each official file of a data set, by its place."""
    content = {}
    for number, record in enumerate(datasets.PUBLIC[name].records):
        content[record.files.image] = encoded(fundus_image(number), Path(record.files.image).suffix)
        for place in record.files.present()[1:]:
            array = fundus_image()[..., 0] if place == record.files.fov else annotation()
            content[place] = encoded(array, Path(place).suffix)
    return content


def put(root: Path, content: dict[str, bytes]) -> None:
    for place, data in content.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(data)


def put_zip(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for place, data in content.items():
            archive.writestr(place, data)


def put_tar(path: Path, content: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for place, data in content.items():
            info = tarfile.TarInfo(place)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def custom_folder(root: Path, count: int = 4) -> Path:
    for number in range(count):
        put(root, {f"images/p{number}.jpg": encoded(fundus_image(), ".jpg")})
        put(root, {f"truth/p{number}.png": encoded(annotation(), ".png")})
    return root


def load(entries) -> list[LabelledImage]:
    return [entry.load() for entry in entries]


def block_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every download fail at once, and hide the user's folder of data sets."""

    def fail(*args: object, **kwargs: object) -> None:
        raise ConnectionError("no network in tests")

    monkeypatch.delenv(locate_files.VARIABLE, raising=False)
    monkeypatch.setattr(locate_files.pooch, "retrieve", fail)
    monkeypatch.setattr(locate_files.time, "sleep", lambda seconds: None)


def make_official(monkeypatch: pytest.MonkeyPatch, name: str) -> dict[str, bytes]:
    """Small files of a public data set, by their place, which from then on are the official ones."""
    content = set_files(name)
    unlisted = datasets.PUBLIC[name].unlisted
    listed = {place: hashlib.sha256(data).hexdigest() for place, data in content.items() if place not in unlisted}
    monkeypatch.setattr(datasets, "manifest", lambda asked: listed)
    return content
