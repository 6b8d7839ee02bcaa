"""Is a photograph like those of DRIVE and CHASE_DB1 in kind and quality? A few simple measurements and their limits.

The limits are round numbers outside what 40 training photographs of DRIVE and CHASE_DB1 and the drawn eyes have (the
range is beside each), all taken in the field of view. They warn; they do not refuse.
"""

import cv2
import numpy as np

from src import preprocess, structure

LEAST_GREY = 40.0  # mean grey level, 0 to 255: 61 to 154
LEAST_SHARPNESS = 10.0  # 16 to 70; a blur of 2 pixels of a 540-pixel FOV leaves 6 to 13
RED = (0.4, 0.8)  # red in the sum of the mean levels of red, green and blue: .45 to .75
BLUE = (0.0, 0.28)  # .03 to .22
CONTRAST = (0.08, 0.7)  # standard deviation over mean of green: .14 to .55
RIM = 10  # pixels of a 540-pixel FOV at its edge that say nothing of sharpness


def flags(image: np.ndarray, fov: np.ndarray) -> list[str]:
    """What is to be said against an (H, W, 3) uint8 RGB photograph with its (H, W) bool FOV; most often nothing.

    `dark`, `blurred`, `no_fov` (no dark border is seen: the whole picture is taken for the field of view) and `unlike`
    (colours or contrast that none of those photographs has).
    """
    means, deviations = (values[:, 0] for values in cv2.meanStdDev(image, mask=fov.astype(np.uint8)))
    red, green, blue = means
    total = max(red + green + blue, 1.0)
    contrast = deviations[1] / max(green, 1.0)
    alike = ((red / total, RED), (blue / total, BLUE), (contrast, CONTRAST))
    found = {
        "dark": grey_level(red, green, blue) < LEAST_GREY,
        "blurred": sharpness(image, fov) < LEAST_SHARPNESS,
        "no_fov": bool(fov.all()),
        "unlike": not all(least <= value <= most for value, (least, most) in alike),
    }
    return [name for name, is_so in found.items() if is_so]


def grey_level(red: float, green: float, blue: float) -> float:
    """The grey of a colour as television has it (ITU-R BT.601)."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


def sharpness(image: np.ndarray, fov: np.ndarray) -> float:
    """Standard deviation of the Laplacian of green in the FOV, scaled to 540 pixels and standardised; see `flags`.

    After Pech-Pacheco et al., ICPR 2000.
    """
    prepared = preprocess.prepare(image, fov, structure.REFERENCE_DIAMETER, clahe=0.0)
    core = cv2.erode(prepared.fov.astype(np.uint8), np.ones((2 * RIM + 1,) * 2, np.uint8), borderValue=1) > 0
    detail = cv2.Laplacian(prepared.image[..., 1], cv2.CV_32F, ksize=3)
    return float(detail[core if core.any() else prepared.fov].std())
