"""Cut an image into square patches, and merge overlapping patches into a map.

Beyond the right and lower border of an image that is smaller than a patch, images are NEUTRAL, truth and FOV False.
"""

import numpy as np

NEUTRAL = 128  # intensity outside the field of view and outside the image


def starts(length: int, size: int, stride: int) -> list[int]:
    """Return the first pixels of patches along a side; the last patch ends with the image.

    >>> starts(10, size=4, stride=4)
    [0, 4, 6]
    >>> starts(3, size=4, stride=4)
    [0]
    """
    if min(length, size, stride) < 1:
        raise ValueError(f"expected length, size and stride of at least 1, got {length}, {size} and {stride}")
    return [*range(0, length - size, stride), max(length - size, 0)]


def positions(shape: tuple[int, ...], size: int, stride: int) -> np.ndarray:
    """Return the upper left corners (N, 2), as (row, column), of the patches of an image (H, W, ...), row by row."""
    rows, columns = (starts(length, size, stride) for length in shape[:2])
    return np.array([(row, column) for row in rows for column in columns])


def positions_in_fov(fov: np.ndarray, size: int, stride: int, min_fov: float) -> np.ndarray:
    """Return the `positions` (N, 2) of patches with at least a fraction `min_fov`, and a pixel, in the (H, W) FOV."""
    every = positions(fov.shape, size, stride)
    fractions = np.array([extract_patch(fov, position, size).mean() for position in every])
    return every[(fractions >= min_fov) & (fractions > 0)]


def extract_patch(array: np.ndarray, position: np.ndarray, size: int) -> np.ndarray:
    """Copy the patch (size, size, ...) of an (H, W, ...) array whose upper left corner is at (row, column).

    Beyond the array the patch is NEUTRAL for uint8, and 0 or False for other types.
    """
    patch = np.full((size, size, *array.shape[2:]), NEUTRAL if array.dtype == np.uint8 else 0, array.dtype)
    row, column = (int(value) for value in position)
    part = array[max(row, 0) : max(row + size, 0), max(column, 0) : max(column + size, 0)]
    top, left = max(-row, 0), max(-column, 0)
    patch[top : top + part.shape[0], left : left + part.shape[1]] = part
    return patch


def extract_with_context(array: np.ndarray, position: np.ndarray, size: int, side: int) -> np.ndarray:
    """Copy the patch of `side` whose centre is the patch of `size` at (row, column); see `extract_patch`."""
    return extract_patch(array, np.asarray(position) - (side - size) // 2, side)


def extract_centre(array: np.ndarray, size: int) -> np.ndarray:
    """Copy the patch (size, size, ...) in the centre of a square array."""
    corner = (len(array) - size) // 2
    return extract_patch(array, np.array([corner, corner]), size)


def context_side(size: int, context: float) -> int:
    """Return the even number of pixels next to size * context, at least `size` (which is even).

    >>> context_side(256, 1.7)
    436
    """
    return max(size, 2 * round(size * context / 2))


def blending_window(size: int) -> np.ndarray:
    """Return the weights (size, size) float32 of a patch in a map: a raised cosine, small but not 0 at the border."""
    side = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2 + 1e-3
    return np.outer(side, side).astype(np.float32)


class PatchAggregator:
    """Weighted mean (H, W) float32 of overlapping square patches, which are added one by one."""

    def __init__(self, shape: tuple[int, int], size: int) -> None:
        """Start an empty map of shape (H, W) for patches of side `size`."""
        self._weight = blending_window(size)
        self._sum = np.zeros(shape, np.float32)
        self._total = np.zeros(shape, np.float32)

    def add(self, patch: np.ndarray, position: np.ndarray) -> None:
        """Add a patch (size, size) whose corner is at (row, column); pixels beyond the map are ignored."""
        if patch.shape != self._weight.shape:
            raise ValueError(f"patch: expected shape {self._weight.shape}, got {patch.shape}")
        row, column = (int(value) for value in position)
        target = np.s_[row : row + len(patch), column : column + len(patch)]
        height, width = self._sum[target].shape
        weight = self._weight[:height, :width]
        self._sum[target] += weight * patch[:height, :width]
        self._total[target] += weight

    def result(self) -> np.ndarray:
        """Return the map (H, W) float32; ValueError where a pixel is in no patch."""
        bare = int((self._total == 0).sum())
        if bare:
            raise ValueError(f"expected patches that cover the map, got {bare} pixels in none")
        return self._sum / self._total
