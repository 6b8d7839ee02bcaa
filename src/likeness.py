"""Whether two photographs show the same eye: the same picture, though changed.

A photograph has a *signature*: its vessels over angle and radius in the field of view, which is first made a disc, so
that two signatures can be compared at all rotations, and mirrored. Found are copies that are flipped, rotated, resized,
stretched, compressed or brightened; not found are crops, and other photographs of the same eye.
"""

import cv2
import numpy as np

SIDE = 192  # pixels of the field of view that a signature is taken from
FINE, COARSE = 1.5, 8.0  # pixels of these: vessels are about as wide as the first, light changes over the second
LEAST_CONTRAST = 0.1  # grey levels, and share of the local deviation: what is fainter is rounding
RADII, ANGLES = 40, 180
RIM = 0.92  # of the radius: beyond it are stray light and the border of the field of view
# Similarity, over DRIVE, CHASE_DB1, RBV and phantoms of 584x565: copies of an eye have .91 or more (.57 when shrunk to
# a third and compressed to JPEG of quality 20), two eyes .39 or less.
SAME_EYE = 0.5
BLOCK = 64  # photographs compared at once with all others: bounds the memory


def signature(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
    """Vessels over angle and radius, of norm 1, transformed along the angle: (ANGLES // 2 + 1, RADII) complex64.

    The image is (H, W, 3) uint8 RGB, its field of view (H, W) bool and not empty. About zero without contrast.
    """
    green, weight = framed(fov, SIDE, image[..., 1], fov)
    angle = np.linspace(0, 2 * np.pi, ANGLES, endpoint=False)[:, None]
    radius = RIM * (np.arange(RADII) + 0.5) / RADII
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)])
    centre, axes = _ellipse(weight)
    x, y = (np.tensordot(axes, points, 1) + centre[:, None, None]).astype(np.float32)
    contrast = detail(green, weight, FINE, COARSE, COARSE)
    polar = cv2.remap(contrast, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    polar *= np.sqrt(radius / radius.sum() / ANGLES)  # so that every part of the disc counts by its area
    return np.fft.rfft(polar / max(np.linalg.norm(polar), LEAST_CONTRAST), axis=0).astype(np.complex64)


def similarity(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Each of N signatures with each of M: highest correlation over all rotations and the mirror image, (N, M).

    Both are stacked, (N or M, ANGLES // 2 + 1, RADII). 1 for copies, 0 for a signature of zeros.
    """
    others = second.transpose(1, 2, 0)
    found = np.zeros((len(first), len(second)), np.float32)
    for start in range(0, len(first), BLOCK):
        rows = slice(start, start + BLOCK)
        block = first[rows].transpose(1, 0, 2)
        for turned in (others.conj(), others):  # a conjugate runs the other way round: correlation, mirrored
            np.maximum(found[rows], np.fft.irfft(block @ turned, ANGLES, axis=0).max(axis=0), out=found[rows])
    return found


def framed(fov: np.ndarray, side: int, *pictures: np.ndarray) -> list[np.ndarray]:
    """Pictures (H, W) inside a field of view (H, W), cut to it and resized to a longer side of `side`; float32."""
    x, y, width, height = cv2.boundingRect(fov.astype(np.uint8))
    cut = np.s_[y : y + height, x : x + width]
    size = tuple(max(round(length * side / max(width, height)), 1) for length in (width, height))
    inside = ((picture[cut] * fov[cut]).astype(np.float32) for picture in pictures)
    return [cv2.resize(picture, size, interpolation=cv2.INTER_AREA) for picture in inside]


def detail(green: np.ndarray, weight: np.ndarray, fine: float, coarse: float, wide: float) -> np.ndarray:
    """Brightness of vessel width, in local standard deviations, (H, W) float32; 0 outside the field of view.

    What is lighter than its surroundings is positive. `fine` to `coarse` are the pixels over which it is taken, `wide`
    those over which it deviates; `weight` is the field of view, 0 to 1.
    """

    def smooth(picture: np.ndarray, sigma: float) -> np.ndarray:
        blurred, norm = (
            cv2.GaussianBlur(part, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for part in (picture, weight)
        )
        return blurred / np.maximum(norm, 1e-3)

    lighter = (smooth(green, fine) - smooth(green, coarse)) * weight
    return np.where(weight > 0.5, lighter / (np.sqrt(smooth(lighter**2, wide)) + LEAST_CONTRAST), 0)


def _ellipse(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centre (2,) and axes (2, 2) of the ellipse with the moments of `weight` (H, W): axes @ unit disc + centre.

    A field of view that was stretched, or cut and rotated, so becomes what it was before, up to a rotation.
    """
    share = weight / weight.sum(dtype=float)
    points = np.indices(weight.shape)[::-1]
    centre = (share * points).sum(axis=(1, 2))
    away = points - centre[:, None, None]
    variance, direction = np.linalg.eigh(np.einsum("hw,ihw,jhw->ij", share, away, away, optimize=True))
    return centre, 2 * (direction * np.sqrt(np.maximum(variance, 0))) @ direction.T  # a disc's radius is 2 deviations
