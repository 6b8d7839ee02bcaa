"""Cut an image into square patches, stitch patches into a map, and write patches to disk one by one.

An image smaller than a patch goes on at its right and lower end: NEUTRAL in images, False in truth and FOV.
"""

import contextlib
import threading
from pathlib import Path
from tokenize import TokenError
from typing import NamedTuple

import numpy as np

from src import files

NEUTRAL = 128  # the grey outside the field of view and outside the image
POSITIONS = "positions.csv"  # a row a patch, after a header: where it was cut
BYTES = 5  # of a pixel: image, truth and field of view


class Patches(NamedTuple):
    """Patches: images (N, s, s, 3) uint8, truth (N, s, s) bool, fov (N, s, s) bool."""

    images: np.ndarray
    truth: np.ndarray
    fov: np.ndarray


def starts(length: int, size: int, stride: int) -> list[int]:
    """First pixels of patches along a side; the last patch is moved back to end with the image.

    >>> starts(10, size=4, stride=4)
    [0, 4, 6]
    >>> starts(3, size=4, stride=4)
    [0]
    """
    if min(length, size, stride) < 1:
        raise ValueError(f"expected length, size and stride of at least 1, got {length}, {size} and {stride}")
    return [*range(0, length - size, stride), max(length - size, 0)]


def positions(shape: tuple[int, int], size: int, stride: int) -> np.ndarray:
    """Upper left corners (N, 2) as (row, column) of the patches of an image of shape (H, W), row by row."""
    rows, columns = (starts(length, size, stride) for length in shape[:2])
    return np.array([(row, column) for row in rows for column in columns])


def inside(fov: np.ndarray, size: int, stride: int, min_fov: float) -> np.ndarray:
    """The `positions` (N, 2) of patches with at least a share `min_fov`, and a pixel, in the (H, W) FOV."""
    every = positions(fov.shape, size, stride)
    shares = np.array([cut(fov, position, size).mean() for position in every])
    return every[(shares >= min_fov) & (shares > 0)]


def cut(array: np.ndarray, position: np.ndarray, size: int) -> np.ndarray:
    """The patch (size, size, ...) of an (H, W, ...) array whose upper left corner is at (row, column).

    What lies beyond the array is NEUTRAL for uint8 and 0 or False for other types. Always a copy.
    """
    patch = np.full((size, size, *array.shape[2:]), NEUTRAL if array.dtype == np.uint8 else 0, array.dtype)
    row, column = (int(value) for value in position)
    part = array[max(row, 0) : max(row + size, 0), max(column, 0) : max(column + size, 0)]
    top, left = max(-row, 0), max(-column, 0)
    patch[top : top + part.shape[0], left : left + part.shape[1]] = part
    return patch


def cut_around(array: np.ndarray, position: np.ndarray, size: int, side: int) -> np.ndarray:
    """The patch of `side` with the patch of `size` at (row, column) in its centre; see `cut`."""
    return cut(array, np.asarray(position) - (side - size) // 2, side)


def context_side(size: int, context: float) -> int:
    """The even number of pixels next to size * context, no less than `size` (which is even).

    >>> context_side(256, 1.7)
    436
    """
    return max(size, 2 * round(size * context / 2))


def window(size: int) -> np.ndarray:
    """Weights (size, size) float32 of a patch in `stitch`: a raised cosine, small but not 0 at the border."""
    side = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 + 1e-3
    return np.outer(side, side).astype(np.float32)


class Stitcher:
    """A map (H, W) float32 as the weighted mean of overlapping square patches, added one by one."""

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        """Start an empty map of shape (H, W) for patches of side `size`."""
        self._weight = window(size)
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape, np.float32)

    def add(self, patch: np.ndarray, position: np.ndarray) -> None:
        """Add a patch (size, size) whose corner is at (row, column), without what lies beyond the map."""
        if patch.shape != self._weight.shape:
            raise ValueError(f"patch: expected shape {self._weight.shape}, got {patch.shape}")
        row, column = (int(value) for value in position)
        target = np.s_[row : row + len(patch), column : column + len(patch)]
        height, width = self._sum[target].shape
        weight = self._weight[:height, :width]
        self._sum[target] += weight * patch[:height, :width]
        self._total[target] += weight

    def result(self) -> np.ndarray:
        """The map (H, W) float32; ValueError when a pixel lies in no patch."""
        bare = int((self._total == 0).sum())
        if bare:
            raise ValueError(f"expected patches that cover the map, got {bare} pixels in none")
        return self._sum / self._total


def stitch(patches: np.ndarray, corners: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The map (H, W) float32 from patches (N, s, s) at `corners` (N, 2): undoes `cut`, smooth at overlaps."""
    stitcher = Stitcher(shape, patches.shape[1])
    for patch, position in zip(patches, corners, strict=True):
        stitcher.add(patch, position)
    return stitcher.result()


def read_if_any(folder: Path) -> Patches | None:
    """The patches in a folder as `read` has them; None where its table lists none, as no photograph was cut."""
    table = folder / POSITIONS
    if table.exists() and len(table.read_text(encoding="utf-8").splitlines()) == 1:
        return None
    return read(folder)


def read(folder: Path) -> Patches:
    """The patches in a folder, memory-mapped and read-only.

    Raises:
        FileNotFoundError: one of images.npy, truth.npy and fov.npy is missing.
        ValueError: a file is no array, or the three do not fit together.
    """
    patches = Patches(*(_read(folder / f"{kind}.npy") for kind in Patches._fields))
    if patches.images.dtype != np.uint8 or patches.images.ndim != 4 or not len(patches.images):
        found = f"{patches.images.shape} {patches.images.dtype}"
        raise ValueError(f"{folder / 'images'}.npy: expected at least one patch (N, s, s, 3) uint8, got {found}")
    expected = (patches.images.shape[:3], np.dtype(bool))
    for kind in ("truth", "fov"):
        array = getattr(patches, kind)
        if (array.shape, array.dtype) != expected:
            found = f"{array.shape} {array.dtype}"
            raise ValueError(f"{folder / kind}.npy: expected {expected[0]} bool like the images, got {found}")
    return patches


class PatchWriter:
    """Writes a known number of patches to folder/{images,truth,fov}.npy, in any order, from any thread.

    Memory use does not grow with their number. The files have temporary names (`.part`) until all is written.
    Plain writes rather than a memory map: on a full disk they raise OSError, where a map kills the process.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        """Open the files of `count` patches of side `size`; OSError where the disk has not the space."""
        files.refuse_lack_of_space(folder, count * size * size * BYTES)
        folder.mkdir(parents=True, exist_ok=True)
        layouts = {
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

    def __enter__(self) -> "PatchWriter":
        """The writer itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Give the files their names, or remove them after an error; ValueError if patches are missing."""
        try:
            if kind is None:
                self._finish()
        finally:
            for array in self._arrays:
                array.discard()

    def _finish(self) -> None:
        """Give all files their names, once all of them are whole."""
        if self._missing:
            raise ValueError(f"expected every patch to be written, {len(self._missing)} are missing")
        for array in self._arrays:
            array.close()
        for array in self._arrays:
            array.publish()


class _ArrayFile:
    """An .npy file of `count` equal items, written at any index."""

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
        with files.named(self._path):
            self._file.seek(self._begin + index * item.nbytes)
            self._file.write(np.ascontiguousarray(item).data)

    def close(self) -> None:
        with files.named(self._path):
            self._file.close()

    def publish(self) -> None:
        files.publish(self._part, self._path)

    def discard(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the first error is the one to tell
            self._file.close()
        self._part.unlink(missing_ok=True)


def _read(path: Path) -> np.ndarray:
    if not path.exists():
        raise FileNotFoundError(f"{path}: missing; run the stage that makes it with `dvc repro`")
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except (ValueError, EOFError, SyntaxError, TokenError) as error:  # what NumPy raises over a damaged header
        raise ValueError(f"{path}: expected a whole .npy array, got {error}") from error
