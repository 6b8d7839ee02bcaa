"""Detect near-duplicate images: modified copies of one image.

An image has a *signature*: its vessels over angle and radius in the field of view, which is first mapped to a disc.
Two signatures are compared at all rotations, also mirrored. Detected are copies that are flipped, rotated, resized,
stretched, compressed or brightened. Crops, and other images of the same eye, are not detected.
"""

import cv2
import numpy as np

from src.data import image_detail

SIDE = 192  # pixels of the field of view that a signature is taken from
FINE, COARSE = 1.5, 8.0  # pixels of these: vessels are about as wide as the first, illumination varies over the second
RADII, ANGLES = 40, 180
MAX_RADIUS = 0.92  # fraction of the radius: beyond it are stray light and the border of the field of view
# On DRIVE, CHASE_DB1, RBV and synthetic images of 584x565, copies of an image have a similarity of .91 or more (.57
# when reduced to a third and compressed to JPEG of quality 20), images of two eyes .39 or less.
COPY_SIMILARITY = 0.5
BLOCK = 64  # images compared at once with all others: bounds the memory


def signature(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Compute the signature of an image: vessels over angle and radius, of norm 1, Fourier transformed along the angle.

    Args:
        image: (H, W, 3) uint8 RGB.
        fov: field of view, (H, W) bool, not empty.

    Returns:
        (ANGLES // 2 + 1, RADII) complex64; about zero for an image without contrast.
    """
    green, weight = image_detail.crop_to_fov(fov, SIDE, image[..., 1], fov)
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)[:, None]
    radius = MAX_RADIUS * (np.arange(RADII) + 0.5) / RADII
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)])
    centre, axes = _ellipse(weight)
    x, y = (np.tensordot(axes, points, 1) + centre[:, None, None]).astype(np.float32)
    contrast = image_detail.band_pass_detail(green, weight, FINE, COARSE, COARSE)
    polar = cv2.remap(contrast, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    polar *= np.sqrt(radius / radius.sum() / ANGLES)  # so that every part of the disc counts by its area
    norm = max(float(np.linalg.norm(polar)), image_detail.MIN_CONTRAST)
    return np.fft.rfft(polar / norm, axis=0).astype(np.complex64)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compare each of N signatures with each of M: highest correlation over all rotations and the mirror image.

    Args:
        first: (N, ANGLES // 2 + 1, RADII) complex64.
        second: (M, ANGLES // 2 + 1, RADII) complex64.

    Returns:
        (N, M) float32; 1 for copies, 0 for a signature of zeros.
    """
    others = second.transpose(1, 2, 0)
    found = np.zeros((len(first), len(second)), np.float32)
    for start in range(0, len(first), BLOCK):
        rows = slice(start, start + BLOCK)
        block = first[rows].transpose(1, 0, 2)
        for other in (others.conj(), others):  # correlation, and that with the mirror image
            np.maximum(found[rows], np.fft.irfft(block @ other, ANGLES, axis=0).max(axis=0), out=found[rows])
    return found


def _ellipse(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return centre (2,) and axes (2, 2) of the ellipse with the moments of `weight` (H, W): axes @ unit disc + centre.

    It undoes a stretching of the field of view, and a cut and rotation, up to a rotation.
    """
    density = weight / weight.sum(dtype=float)
    points = np.indices(weight.shape)[::-1]
    centre = (density * points).sum(axis=(1, 2))
    away = points - centre[:, None, None]
    variance, direction = np.linalg.eigh(np.einsum("hw,ihw,jhw->ij", density, away, away, optimize=True))
    return centre, 2 * (direction * np.sqrt(np.maximum(variance, 0))) @ direction.T  # a disc's radius is 2 deviations
