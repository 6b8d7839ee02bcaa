"""Skeleton of a binary map by parallel thinning (Zhang & Suen, Communications of the ACM 27(3), 1984).

The result equals that of scikit-image, which would add 200 MB to what prediction has to install.
"""

import cv2
import numpy as np

# Position of each neighbour in the code of a pixel: neighbour k adds 2**k, from the upper left one clockwise.
_KERNEL = np.array([[1, 2, 4], [128, 0, 8], [64, 32, 16]], np.float32)
# For each code: 0 keep the pixel, 1 remove it in the first pass of an iteration, 2 in the second, 3 in both.
# The table of scikit-image (BSD-3-Clause: licenses/scikit-image.txt).
_TABLE = np.frombuffer(
    b"00010013003110130000000020203033000000003000000000000000200030220000000000000000000000000000000020000000200020003000000030003020"
    b"00310013000000010000000000000001310000000000000020000000000000002313001300000001000000000000000023010001000000003301000022002000",
    np.uint8,
) - ord("0")
_REMOVED = (_TABLE & 1, _TABLE >> 1)


def skeletonize(binary: np.ndarray) -> np.ndarray:
    """Thin a binary map (H, W) bool to lines of one pixel, (H, W) bool, equal to `skimage.morphology.skeletonize`.

    >>> skeletonize(np.ones((3, 5), bool)).astype(int)
    array([[0, 0, 0, 1, 0],
           [1, 1, 1, 0, 0],
           [0, 0, 0, 0, 0]])
    """
    skeleton, changed = binary.astype(np.uint8), True
    while changed:
        changed = False
        for table in _REMOVED:
            codes = cv2.filter2D(skeleton, cv2.CV_8U, _KERNEL, borderType=cv2.BORDER_CONSTANT)
            removed: np.ndarray = cv2.LUT(codes, table)
            removed &= skeleton
            changed |= bool(removed.any())
            skeleton ^= removed
    return skeleton.astype(bool)
