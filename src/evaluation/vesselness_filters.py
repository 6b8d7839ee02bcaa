"""Classical vesselness filters (Frangi, Sato, matched filter): baselines that learn nothing but a threshold.

Each filter responds to dark lines of a vessel's width in the green channel of the prepared image. One fixed increasing
function maps responses to [0, 1], so that a threshold chosen on some images holds for others.

Widths are pixels of a field of view (FOV) of REFERENCE_FOV_DIAMETER pixels and scale with it. Those without a source
were chosen from a few by pooled F1 and AUC on the 20 training images of DRIVE, at fov_diameter 540.
"""

from collections.abc import Callable, Sequence
from functools import reduce

import cv2
import numpy as np
from scipy import ndimage
from skimage import filters

from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.preprocessing import normalization
from src.preprocessing.normalization import Prepared
from src.preprocessing.patches import NEUTRAL

FRANGI_SIGMAS = (1.5, 2.5, 3.5)
FRANGI_BETA = 0.5  # sensitivity to blobness; that of the paper
FRANGI_GAMMA = 5.0  # intensity: sigma^2 |Hessian| that counts as structure; shifts the threshold, hardly the ranking
SATO_SIGMAS = (1.5, 2.0, 3.0)
MATCHED_SIGMA = 1.8  # of the profile across the vessel; the paper has 2 for other cameras
MATCHED_LENGTH = 15.0  # of the straight segment; the paper has 9
MATCHED_REACH = 3.0  # half width of the kernel / sigma; that of the paper
ORIENTATIONS = 12  # one every 15 degrees, as in the paper
HALF_RESPONSE = 10.0  # intensity: the response that is mapped to 0.5
MIN_SIGMA = 0.8  # pixels; sampled derivatives of a narrower Gaussian respond to uniform intensity
RIM = 5.0  # pixels inside the border of the FOV in which light falls off: replaced, too
FILL_SIGMA = 3.0  # pixels, standard deviation of the mean that replaces what lies outside

Filter = Callable[[np.ndarray, float], np.ndarray]


def vessel_maps(
    names: Sequence[str], image: np.ndarray, fov: np.ndarray, fov_diameter: int, clahe_clip_limit: float
) -> dict[str, np.ndarray]:
    """Filter an image: the map of each filter, (H, W) float32 in [0, 1] at the image's size, 0 outside the FOV.

    Args:
        names: the filters, keys of FILTERS.
        image: (H, W, 3) uint8 RGB, not yet prepared.
        fov: its field of view, (H, W) bool.
        fov_diameter: pixels to which the FOV is scaled for filtering.
        clahe_clip_limit: see `normalization.prepare`.

    Raises:
        ValueError: no filter has such a name.
    """
    prepared = normalization.prepare(image, fov, fov_diameter, clahe_clip_limit)
    return {
        name: np.where(fov, normalization.to_native(response, fov.shape), np.float32(0))
        for name, response in filter_responses(names, prepared, fov_diameter).items()
    }


def filter_responses(names: Sequence[str], prepared: Prepared, fov_diameter: int) -> dict[str, np.ndarray]:
    """Filter a prepared image: the response of each filter, (h, w) float32 in [0, 1], 0 outside the FOV.

    Raises:
        ValueError: no filter has such a name.
    """
    for name in names:
        if name not in FILTERS:
            raise ValueError(f"baselines.filters: expected some of {', '.join(FILTERS)}, got {name!r}")
    scale = fov_diameter / REFERENCE_FOV_DIAMETER
    inverted = np.float32(NEUTRAL) - prepared.image[..., 1]
    filled = fill_outside_fov(inverted, prepared.fov, scale)
    return {name: np.where(prepared.fov, FILTERS[name](filled, scale), 0).astype(np.float32) for name in names}


def fill_outside_fov(intensity: np.ndarray, fov: np.ndarray, scale: float) -> np.ndarray:
    """Continue the (h, w) float32 intensities of the FOV beyond it, so that its border is no edge.

    Each pixel outside the FOV or in its rim becomes the mean around the nearest pixel of the rest of the FOV.
    """
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(RIM * scale) + 1,) * 2)
    inner = cv2.erode(fov.astype(np.uint8), disc).astype(bool)
    inner = inner if inner.any() else fov
    weight = cv2.GaussianBlur(inner.astype(np.float32), (0, 0), FILL_SIGMA * scale)
    mean = cv2.GaussianBlur(np.where(inner, intensity, np.float32(0)), (0, 0), FILL_SIGMA * scale)
    nearest = tuple(ndimage.distance_transform_edt(~inner, return_distances=False, return_indices=True))
    return np.where(inner, intensity, mean[nearest] / weight[nearest])


def frangi(bright: np.ndarray, scale: float) -> np.ndarray:
    """Compute the vesselness of bright lines, the maximum over scales with normalised derivatives, in [0, 1].

    Frangi et al., MICCAI 1998, eq. (15); gamma is fixed, where the paper takes half the largest norm of the image.
    """
    responses = (
        filters.frangi(bright, [sigma], beta=FRANGI_BETA, gamma=FRANGI_GAMMA / sigma**2, black_ridges=False)
        for sigma in _scaled(FRANGI_SIGMAS, scale)
    )
    return reduce(np.maximum, responses)


def sato(bright: np.ndarray, scale: float) -> np.ndarray:
    """Compute the tubeness of bright lines, the maximum over scales, in [0, 1].

    Sato et al., Medical Image Analysis 2(2), 1998.
    """
    return _to_unit(filters.sato(bright, _scaled(SATO_SIGMAS, scale), black_ridges=False))


def matched_filter(bright: np.ndarray, scale: float) -> np.ndarray:
    """Compute the maximum response over orientations, in [0, 1]; Chaudhuri et al., IEEE TMI 8(3), 1989."""
    angles = np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    responses = (cv2.filter2D(bright, cv2.CV_32F, matched_kernel(angle, scale)) for angle in angles)
    return _to_unit(reduce(np.maximum, responses))


def matched_kernel(angle: float, scale: float) -> np.ndarray:
    """Build a Gaussian profile across a line at `angle` (radians), (k, k) float32: sum 0, positive part of sum 1."""
    sigma, half_length = max(MATCHED_SIGMA * scale, MIN_SIGMA), MATCHED_LENGTH * scale / 2
    half = int(np.ceil(np.hypot(MATCHED_REACH * sigma, half_length)))
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    across, along = x * np.sin(angle) - y * np.cos(angle), x * np.cos(angle) + y * np.sin(angle)
    support = (np.abs(across) <= MATCHED_REACH * sigma) & (np.abs(along) <= half_length)
    profile = np.exp(-(across**2) / (2 * sigma**2))
    kernel = np.where(support, profile - profile[support].mean(), 0)
    return (kernel / kernel.clip(0).sum()).astype(np.float32)


FILTERS: dict[str, Filter] = {"frangi": frangi, "sato": sato, "matched_filter": matched_filter}


def _scaled(sigmas: tuple[float, ...], scale: float) -> list[float]:
    return [max(sigma * scale, MIN_SIGMA) for sigma in sigmas]


def _to_unit(response: np.ndarray) -> np.ndarray:
    """Map responses in units of intensity to [0, 1), negative ones to 0."""
    response = np.maximum(response, 0)
    return response / (response + HALF_RESPONSE)
