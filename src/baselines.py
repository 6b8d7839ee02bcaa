"""Classical vessel filters, which learn nothing but a threshold: what a network is worth is seen beside them.

Each filter answers to dark lines of a vessel's width in the green channel of a prepared photograph. Its answer is
brought into [0, 1] by one fixed rising map, so that a threshold chosen on some photographs holds for others.

Widths are pixels of a field of view of `REFERENCE` pixels and follow the scale. Those without a named source
were chosen from a few by pooled F1 and AUC on the 20 training photographs of DRIVE, at fov_diameter 540.
"""

from collections.abc import Callable
from functools import reduce

import cv2
import numpy as np
from scipy import ndimage
from skimage import filters

from src import preprocess
from src.patches import NEUTRAL
from src.preprocess import Prepared

REFERENCE = 540  # pixels across the FOV of DRIVE
FRANGI_SIGMAS = (1.5, 2.5, 3.5)
FRANGI_BETA = 0.5  # weight of roundness; the paper's
FRANGI_GAMMA = 5.0  # grey levels: sigma^2 |Hessian| that counts as structure; shifts the threshold, hardly the ranking
SATO_SIGMAS = (1.5, 2.0, 3.0)
MATCHED_SIGMA = 1.8  # of the profile across the vessel; the paper has 2 for other cameras
MATCHED_LENGTH = 15.0  # of the straight piece; the paper has 9
MATCHED_REACH = 3.0  # half width of the kernel / sigma; the paper's
ORIENTATIONS = 12  # the paper's: one every 15 degrees
HALF = 10.0  # grey levels of an answer that becomes 0.5
LEAST_SIGMA = 0.8  # pixels; sampled derivatives of a narrower Gaussian answer to uniform grey
RIM = 5.0  # pixels inside the border of the FOV in which light falls off: filled, too
NEAR = 3.0  # pixels, standard deviation of the mean that fills the outside

Filter = Callable[[np.ndarray, float], np.ndarray]


def vessel_map(name: str, image: np.ndarray, fov: np.ndarray, fov_diameter: int, clahe: float) -> np.ndarray:
    """The answer of a filter to a photograph at its own size, (H, W) float32 in [0, 1], 0 outside the FOV.

    The photograph, (H, W, 3) uint8 with (H, W) bool FOV, is prepared as for the network; see `preprocess.prepare`.
    """
    answer = response(name, preprocess.prepare(image, fov, fov_diameter, clahe), fov_diameter)
    return np.where(fov, preprocess.to_native(answer, fov.shape), np.float32(0))


def response(name: str, prepared: Prepared, fov_diameter: int) -> np.ndarray:
    """The answer of a filter to a prepared photograph, (h, w) float32 in [0, 1], 0 outside the FOV.

    Raises:
        ValueError: no filter has that name.
    """
    if name not in FILTERS:
        raise ValueError(f"baselines.filters: expected some of {', '.join(FILTERS)}, got {name!r}")
    scale = fov_diameter / REFERENCE
    inverted = np.float32(NEUTRAL) - prepared.image[..., 1]
    answer = FILTERS[name](fill(inverted, prepared.fov, scale), scale)
    return np.where(prepared.fov, answer, 0).astype(np.float32)


def fill(grey: np.ndarray, fov: np.ndarray, scale: float) -> np.ndarray:
    """Continue the (h, w) float32 grey levels of the FOV beyond it, so that its border is no edge.

    Each pixel outside the FOV or in its rim gets the mean around the nearest pixel of the rest of the FOV.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(RIM * scale) + 1,) * 2)
    inner = cv2.erode(fov.astype(np.uint8), disc).astype(bool)
    inner = inner if inner.any() else fov
    weight = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), NEAR * scale)
    mean = cv2.GaussianBlur(np.where(inner, grey, np.float32(0)), (0, 0), NEAR * scale)
    nearest = tuple(ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True))
    return np.where(inner, grey, mean[nearest] / weight[nearest])


def frangi(bright: np.ndarray, scale: float) -> np.ndarray:
    """Vesselness of bright lines, the largest over scales with normalised derivatives, in [0, 1].

    Frangi et al., MICCAI 1998, eq. (15); gamma is fixed where the paper takes half the image's largest norm.
    """
    answers = (
        filters.frangi(bright, [sigma], beta=FRANGI_BETA, gamma=FRANGI_GAMMA / sigma**2, black_ridges=False)
        for sigma in _sigmas(FRANGI_SIGMAS, scale)
    )
    return reduce(np.maximum, answers)


def sato(bright: np.ndarray, scale: float) -> np.ndarray:
    """Tubeness of bright lines, the largest over scales, in [0, 1]; Sato et al., Medical Image Analysis 2(2), 1998."""
    return _to_unit(filters.sato(bright, _sigmas(SATO_SIGMAS, scale), black_ridges=False))


def matched_filter(bright: np.ndarray, scale: float) -> np.ndarray:
    """The largest answer over orientations, in [0, 1]; Chaudhuri et al., IEEE TMI 8(3), 1989."""
    angles = np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    answers = (cv2.filter2D(bright, cv2.CV_32F, matched_kernel(angle, scale)) for angle in angles)
    return _to_unit(reduce(np.maximum, answers))


def matched_kernel(angle: float, scale: float) -> np.ndarray:
    """Gaussian profile across a line at `angle` (radians), (k, k) float32; its sum is 0, its positive part's 1."""
    sigma, half_length = max(MATCHED_SIGMA * scale, LEAST_SIGMA), MATCHED_LENGTH * scale / 2
    half = int(np.ceil(np.hypot(MATCHED_REACH * sigma, half_length)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    support = (np.abs(across) <= MATCHED_REACH * sigma) & (np.abs(along) <= half_length)
    profile = np.exp(-(across**2) / (2 * sigma**2))
    kernel = np.where(support, profile - profile[support].mean(), 0)
    return (kernel / kernel.clip(0).sum()).astype(np.float32)


FILTERS: dict[str, Filter] = {"frangi": frangi, "sato": sato, "matched_filter": matched_filter}


def _sigmas(sigmas: tuple[float, ...], scale: float) -> list[float]:
    return [max(sigma * scale, LEAST_SIGMA) for sigma in sigmas]


def _to_unit(answer: np.ndarray) -> np.ndarray:
    """Answers in grey levels brought into [0, 1), those below 0 to 0."""
    answer = np.maximum(answer, 0)
    return answer / (answer + HALF)
