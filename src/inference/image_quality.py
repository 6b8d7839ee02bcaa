"""Quality flags of a fundus image: is it like the training images of DRIVE and CHASE_DB1 in kind and quality?

The limits are round numbers outside the range of 40 training images of DRIVE and CHASE_DB1 and of synthetic images (the
range is beside each), all measured in the field of view. A flag is a warning: the image is predicted all the same.
"""

import cv2
import numpy as np

from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.preprocessing import normalization

MIN_LUMA = 40.0  # mean luma, 0 to 255: 61 to 154
MIN_SHARPNESS = 10.0  # 16 to 70; a blur of 2 pixels of a 540-pixel FOV leaves 6 to 13
RED_FRACTION = (0.4, 0.8)  # of the sum of the mean red, green and blue: .45 to .75
BLUE_FRACTION = (0.0, 0.28)  # .03 to .22
CONTRAST = (0.08, 0.7)  # standard deviation over mean of green: .14 to .55
MIN_VESSEL_DENSITY = 0.03  # of the map: .070 or more; .047 or more in 17 images of HRF, FIVES and IDRiD
FLAGS = {  # and what they mean; the last two are of `input_validation`
    "underexposed": "the field of view is dark",
    "blurred": "little fine detail",
    "fov_not_found": "no border is found: the whole image is taken for the field of view",
    "implausible_map": "hardly any vessel is found",
    "out_of_distribution": "colour or contrast outside the range of the training images of DRIVE and CHASE_DB1",
    "several_images": "the file holds several images of full size; the first is predicted",
    "several_fields_of_view": "the image shows several fields of view; the largest is predicted, cut the others out",
}
EDGE_WIDTH = 10  # pixels of a 540-pixel FOV at its edge that sharpness leaves out


def quality_flags(image: np.ndarray, fov: np.ndarray, vessel_density: float) -> list[str]:
    """Return the quality flags of an (H, W, 3) uint8 RGB image with its (H, W) bool FOV; none for most images.

    They are the first five of FLAGS. `vessel_density` is the fraction of the FOV that the map marks as vessels.
    """
    means, deviations = (values[:, 0] for values in cv2.meanStdDev(image, mask=fov.astype(np.uint8)))
    red, green, blue = means
    total = max(red + green + blue, 1.0)
    contrast = deviations[1] / max(green, 1.0)
    ranges = ((red / total, RED_FRACTION), (blue / total, BLUE_FRACTION), (contrast, CONTRAST))
    flags = {
        "underexposed": luma(red, green, blue) < MIN_LUMA,
        "blurred": sharpness(image, fov) < MIN_SHARPNESS,
        "fov_not_found": bool(fov.all()),
        "implausible_map": vessel_density < MIN_VESSEL_DENSITY,
        "out_of_distribution": not all(low <= value <= high for value, (low, high) in ranges),
    }
    return [name for name, is_set in flags.items() if is_set]


def luma(red: float, green: float, blue: float) -> float:
    """Return the luma of a colour (ITU-R BT.601)."""
    return 0.299 * red + 0.587 * green + 0.114 * blue


def sharpness(image: np.ndarray, fov: np.ndarray) -> float:
    """Return the standard deviation of the Laplacian of green in the FOV, scaled to 540 pixels and standardised.

    After Pech-Pacheco et al., ICPR 2000.
    """
    prepared = normalization.prepare(image, fov, REFERENCE_FOV_DIAMETER, clahe_clip_limit=0.0)
    kernel = np.ones((2 * EDGE_WIDTH + 1,) * 2, np.uint8)
    core = cv2.erode(prepared.fov.astype(np.uint8), kernel, borderValue=(1,)) > 0
    laplacian = cv2.Laplacian(prepared.image[..., 1], cv2.CV_32F, ksize=3)
    return float(laplacian[core if core.any() else prepared.fov].std())
