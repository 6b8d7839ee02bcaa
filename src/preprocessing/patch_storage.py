"""Store patches on disk as .npy arrays: written one by one, read memory-mapped."""

import contextlib
import threading
from pathlib import Path
from tokenize import TokenError
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np

from src.common import atomic_io

POSITIONS = "positions.csv"  # a header, and a row per patch: where it was cut
BYTES_PER_PIXEL = 5  # image, truth and field of view


class LabelledPatch(NamedTuple):
    """A patch with its labels: image (s, s, 3) uint8, truth and fov (s, s) bool."""

    image: np.ndarray
    truth: np.ndarray
    fov: np.ndarray


class Patches(NamedTuple):
    """Patches: images (N, s, s, 3) uint8, truth (N, s, s) bool, fov (N, s, s) bool."""

    images: np.ndarray
    truth: np.ndarray
    fov: np.ndarray

    def copy_patch(self, index: int) -> LabelledPatch:
        """Copy patch number `index`."""
        return LabelledPatch(self.images[index].copy(), self.truth[index].copy(), self.fov[index].copy())


def read_or_none(folder: Path) -> Patches | None:
    """Read the patches in a folder, see `read`; None where its table lists none, as there was no image."""
    table = folder / POSITIONS
    if table.exists() and len(table.read_text(encoding="utf-8").splitlines()) == 1:
        return None
    return read(folder)


def read(folder: Path) -> Patches:
    """Read the patches in a folder, memory-mapped and read-only.

    Raises:
        FileNotFoundError: one of images.npy, truth.npy and fov.npy is missing.
        ValueError: a file is no array, or the three do not fit together.
    """
    patches = Patches(*(_read_array(folder / f"{kind}.npy") for kind in Patches._fields))
    if patches.images.dtype != np.uint8 or patches.images.ndim != 4 or not len(patches.images):
        found = f"{patches.images.shape} {patches.images.dtype}"
        raise ValueError(f"{folder / 'images'}.npy: expected at least one patch (N, s, s, 3) uint8, got {found}")
    expected = (patches.images.shape[:3], np.dtype(bool))
    for kind, array in (("truth", patches.truth), ("fov", patches.fov)):
        if (array.shape, array.dtype) != expected:
            found = f"{array.shape} {array.dtype}"
            raise ValueError(f"{folder / kind}.npy: expected {expected[0]} bool like the images, got {found}")
    return patches


class PatchWriter:
    """Writer of a known number of patches to folder/{images,truth,fov}.npy, in any order, from any thread.

    Memory use does not grow with their number. The files have temporary names (`.part`) until all is written.
    Plain writes rather than a memory map: on a full disk they raise OSError, where a map kills the process.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        """Open the files of `count` patches of side `size`; OSError where the disk has too little space."""
        atomic_io.check_free_space(folder, count * size * size * BYTES_PER_PIXEL)
        folder.mkdir(parents=True, exist_ok=True)
        layouts: dict[str, tuple[tuple[int, ...], type]] = {
            "images": ((size, size, 3), np.uint8),
            "truth": ((size, size), bool),
            "fov": ((size, size), bool),
        }
        self._arrays = [_ArrayFile(folder / f"{kind}.npy", count, *layouts[kind]) for kind in Patches._fields]
        self._missing = set(range(count))
        self._lock = threading.Lock()

    def write(self, index: int, image: np.ndarray, truth: np.ndarray, fov: np.ndarray) -> None:
        """Write patch number `index`: image (s, s, 3) uint8, truth and fov (s, s) bool."""
        with self._lock:
            self._missing.remove(index)
            for array, patch in zip(self._arrays, (image, truth, fov), strict=True):
                array.write(index, patch)

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Rename the files to their final names, or remove them after an error; ValueError if patches are missing."""
        try:
            if kind is None:
                self._finish()
        finally:
            for array in self._arrays:
                array.discard()

    def _finish(self) -> None:
        """Rename all files once all of them are complete."""
        if self._missing:
            raise ValueError(f"expected every patch to be written, {len(self._missing)} are missing")
        for array in self._arrays:
            array.close()
        for array in self._arrays:
            array.publish()


class _ArrayFile:
    """An .npy file of `count` items of one shape and type, written at any index."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: type) -> None:
        self._path, self._part = path, path.with_suffix(".part")
        self._shape, self._dtype = shape, np.dtype(dtype)
        self._file = self._part.open("wb")
        header = {"descr": self._dtype.str, "fortran_order": False, "shape": (count, *shape)}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._begin = self._file.tell()

    def write(self, index: int, item: np.ndarray) -> None:
        if item.shape != self._shape or item.dtype != self._dtype:
            expected, found = f"{self._shape} {self._dtype}", f"{item.shape} {item.dtype}"
            raise ValueError(f"{self._path}: expected a patch {expected}, got {found}")
        with atomic_io.path_in_error(self._path):
            self._file.seek(self._begin + index * item.nbytes)
            self._file.write(np.ascontiguousarray(item).data)

    def close(self) -> None:
        with atomic_io.path_in_error(self._path):
            self._file.close()

    def publish(self) -> None:
        atomic_io.atomic_rename(self._part, self._path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the first error is the one to report
            self._file.close()
        self._part.unlink(missing_ok=True)


def _read_array(path: Path) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing; run the stage that makes it with `dvc repro`")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, SyntaxError, TokenError) as error:  # what NumPy raises for a damaged header
        raise ValueError(f"{path}: expected a whole .npy array, got {error}") from error
