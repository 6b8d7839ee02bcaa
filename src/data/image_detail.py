"""Details of a fundus image at the scale of vessels, by which copies and displaced annotations are detected."""

import cv2
import numpy as np

MIN_CONTRAST = 0.1  # grey levels, and fraction of the local deviation: fainter details are rounding errors


def crop_to_fov(fov: np.ndarray, side: int, *images: np.ndarray) -> list[np.ndarray]:
    """Crop (H, W) images to the bounding box of a field of view, and resize them to a longer side of `side`; float32.

    Outside the (H, W) bool field of view they are 0.
    """
    x, y, width, height = cv2.boundingRect(fov.astype(np.uint8))
    cut = np.s_[y : y + height, x : x + width]
    size = tuple(max(round(length * side / max(width, height)), 1) for length in (width, height))
    inside = ((image[cut] * fov[cut]).astype(np.float32) for image in images)
    return [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in inside]


def band_pass_detail(green: np.ndarray, weight: np.ndarray, fine: float, coarse: float, wide: float) -> np.ndarray:
    """Band-pass filter an image and divide by the local standard deviation; bright details are positive.

    Args:
        green: (H, W) float32.
        weight: field of view, (H, W) float32, 0 to 1.
        fine: standard deviation of the smaller Gaussian, pixels.
        coarse: that of the larger Gaussian.
        wide: that of the Gaussian in which the local deviation is taken.

    Returns:
        (H, W) float32; 0 outside the field of view.
    """

    def smooth(values: np.ndarray, sigma: float) -> np.ndarray:
        blurred, norm = (
            cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for part in (values, weight)
        )
        return blurred / np.maximum(norm, 1e-3)

    lighter = (smooth(green, fine) - smooth(green, coarse)) * weight
    return np.where(weight > 0.5, lighter / (np.sqrt(smooth(lighter**2, wide)) + MIN_CONTRAST), 0)
