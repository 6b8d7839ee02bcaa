"""The embedded data set: drawn colour fundus photographs with exact vessel ground truth.

An eye is composed at the scale of *reference pixels* (see `vessels`), brought to the size asked for, and then
photographed: uneven light, blur, noise, JPEG, a round field of view on black.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src import fundus, strokes, twigs, vessels
from src.vessels import FOV_RADIUS, Anatomy

LEAST_SIZE = 96  # pixels; below it no vessel but the trunks is a pixel wide
FOV_SHARE = 0.956  # diameter of the FOV / shorter side: 540 / 565 in DRIVE
CUT = 0.35  # share of photographs whose FOV is cut at top and bottom, as in DRIVE and HRF
CUT_AT = (0.84, 0.97)  # half height of a cut FOV / radius
DISC_CENTRED = 0.2  # share of photographs centred on the disc, as in CHASE_DB1
DISC_TO_FOVEA = (192.0, 216.0)  # reference pixels at 45 degrees; seen in DRIVE
DISC_RADIUS = (35.0, 42.0)  # the same
DISC_ABOVE_FOVEA = (0.02, 0.18)  # radians
DISC_CENTRED_ZOOM = (1.15, 1.35)  # CHASE_DB1 shows 30 degrees
VESSEL_SHARE = (0.099, 0.011)  # of the FOV: mean, standard deviation; DRIVE .126, CHASE_DB1 .10
VESSEL_SHARE_LIMITS = (0.080, 0.125)
WIDE = (0.55, 0.80)  # share of that area that all but the twigs take
ABSORPTION = ((0.15, 0.40), (0.76, 1.18), (0.50, 0.90))  # in red, green, blue; towards the ratios of DRIVE
DISC_DENSITY = 0.6  # vessels on the bright disc look darker by so much
VIGNETTING = (0.05, 0.35)  # light lost at the edge
SLOPE = (0.0, 0.12)  # light gained and lost from the middle to two opposite edges
PATCHES = (0.04, 0.075, 0.05)  # standard deviation of soft patches of light in red, green, blue
COLOURED = (0.06, 0.03, 0.05)  # the same, of each colour by itself: the colour of DRIVE's ground varies
STRAY_LIGHT = (0.0, 0.14)  # added at one side of the rim, greenish; seen in DRIVE
APERTURE = (0.0, 0.02)  # how far what is lit lies beside the FOV / radius: a dark crescent at its rim; seen in DRIVE
FRINGE = (0.0, 0.005)  # shift of the red border of the FOV / radius; seen in DRIVE
SHARPENING = (0.0, 0.4)  # unsharp masking by the camera; DRIVE has light seams beside dark vessels
BLUR = (0.55, 1.0)  # pixels at a FOV of 540 pixels, standard deviation
NOISE = (0.007, 0.020)  # of white, falling with the light; DRIVE .013 to .022 with texture
JPEG = (80, 97)  # quality


class Phantom(NamedTuple):
    """A drawn photograph (H, W, 3) uint8 RGB with its truth and FOV, (H, W) bool."""

    image: np.ndarray
    truth: np.ndarray
    fov: np.ndarray


def draw(seed: int, index: int, height: int, width: int) -> Phantom:
    """Draw photograph number `index` of the series `seed`: always the same bytes, different for every pair.

    Raises:
        ValueError: height or width is below `LEAST_SIZE`.
    """
    if min(height, width) < LEAST_SIZE:
        raise ValueError(f"phantom: expected at least {LEAST_SIZE} pixels a side, got {height}x{width}")
    rng = np.random.default_rng([seed, index])
    scale = FOV_SHARE * min(height, width) / (2 * FOV_RADIUS)
    anatomy = _anatomy(rng)
    size = (height / scale, width / scale)
    share = np.clip(rng.normal(*VESSEL_SHARE), *VESSEL_SHARE_LIMITS)
    layers = strokes.layers(_vessels(rng, anatomy, share * np.pi * FOV_RADIUS**2), size)
    eye = _resize(_eye(rng, anatomy, layers, size), height, width)
    fov = _fov(rng, scale, height, width)
    truth = (_resize(layers.cover, height, width) > 127) & fov
    return Phantom(_photograph(rng, eye, fov, scale), truth, fov)


def _anatomy(rng: np.random.Generator) -> Anatomy:
    """Choose a left or right eye, its landmarks, and what the camera is centred on."""
    side = rng.choice((-1, 1))
    tilt = rng.uniform(*DISC_ABOVE_FOVEA)
    if rng.random() < DISC_CENTRED:
        zoom = rng.uniform(*DISC_CENTRED_ZOOM)
        disc = complex(rng.uniform(-40, 40), rng.uniform(-30, 30))
        fovea = disc + zoom * rng.uniform(*DISC_TO_FOVEA) * complex(side * np.cos(tilt), np.sin(tilt))
    else:
        zoom = rng.uniform(0.95, 1.05)
        fovea = complex(rng.uniform(-30, 30), rng.uniform(-20, 25))
        disc = fovea - zoom * rng.uniform(*DISC_TO_FOVEA) * complex(side * np.cos(tilt), np.sin(tilt))
    return Anatomy(disc, fovea, zoom * rng.uniform(*DISC_RADIUS), zoom)


def _vessels(rng: np.random.Generator, anatomy: Anatomy, area: float) -> list[vessels.Vessel]:
    """A tree that covers `area` square reference pixels: its wide vessels, then the twigs between them."""
    wide = vessels.grow(rng, anatomy, rng.uniform(*WIDE) * area)
    return wide + twigs.fill(rng, anatomy, wide, area - sum(map(vessels.covered, wide)))


def _eye(rng: np.random.Generator, anatomy: Anatomy, layers: strokes.Layers, size: tuple[float, float]) -> np.ndarray:
    """Reflectance (H, W, 3) float32 of the eye at one pixel a reference pixel."""
    frame = fundus.plane(round(size[0]), round(size[1]))
    image = fundus.ground(rng, anatomy, frame)
    image = fundus.add_disc(rng, anatomy, frame, image)
    image = fundus.add_lesions(rng, anatomy, frame, image)
    density = _resize(layers.density, *frame.points.shape)
    on_disc = np.exp(-((frame.distance(anatomy.disc) / anatomy.disc_radius) ** 8))
    density = density * (1 + DISC_DENSITY * on_disc)
    absorption = np.array([rng.uniform(*bounds) for bounds in ABSORPTION], np.float32)
    return image * np.exp(-density[..., None] * absorption)


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    smaller = height < array.shape[0]
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _fov(rng: np.random.Generator, scale: float, height: int, width: int) -> np.ndarray:
    """A disc, cut at top and bottom in some photographs."""
    points = fundus.plane(height, width).points / np.float32(scale * FOV_RADIUS)
    fov = np.abs(points) < 1
    if rng.random() < CUT:
        fov &= np.abs(points.imag) < rng.uniform(*CUT_AT)
    return fov


def _photograph(rng: np.random.Generator, eye: np.ndarray, fov: np.ndarray, scale: float) -> np.ndarray:
    """What the camera makes of an eye (H, W, 3): 8-bit RGB, black outside the FOV."""
    image = eye * _light(rng, fov.shape, scale)
    image = _edge(rng, image, scale)
    image = cv2.GaussianBlur(image, (0, 0), max(rng.uniform(*BLUR) * scale, 0.3))
    image += rng.uniform(*SHARPENING) * (image - cv2.GaussianBlur(image, (0, 0), max(2 * scale, 0.5)))
    grain = rng.standard_normal((*fov.shape, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 0.7))
    grain = (grain + grain.mean(axis=2, keepdims=True)) / max(float(grain.std()), 1e-6)
    image = image + rng.uniform(*NOISE) * grain * np.clip(image, 0.02, 1) ** 0.7
    image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8) * fov[..., None]
    return _jpeg(image, int(rng.integers(*JPEG))) * fov[..., None]


def _light(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Uneven light (H, W, 3) around 1: vignetting, a slope, large soft patches."""
    points = fundus.plane(*shape).points / np.float32(scale * FOV_RADIUS)
    middle = complex(*rng.normal(0, 0.15, 2))
    falling = 1 - rng.uniform(*VIGNETTING) * np.abs(points - np.complex64(middle)) ** 2
    slope = 1 + rng.uniform(*SLOPE) * (points * np.complex64(np.exp(1j * rng.uniform(0, 2 * np.pi)))).real
    shared, *single = (fundus.noise(rng, shape, 180 * scale) for _ in range(4))
    patches = 1 + shared[..., None] * np.array(PATCHES, np.float32)
    patches = patches + np.stack(single, axis=2) * np.array(COLOURED, np.float32)
    return np.clip((falling * slope)[..., None] * patches, 0.2, 1.5).astype(np.float32)


def _edge(rng: np.random.Generator, image: np.ndarray, scale: float) -> np.ndarray:
    """The image (H, W, 3) with stray light at one side of the rim, and a soft border of what is lit.

    What is lit is shifted against the FOV by up to `APERTURE`, and a little apart for each colour.
    """
    points = fundus.plane(*image.shape[:2]).points / np.float32(scale * FOV_RADIUS)
    direction = np.exp(1j * rng.uniform(0, 2 * np.pi))
    side = np.clip((points * np.complex64(direction)).real + 0.4, 0, 1)
    stray = rng.uniform(*STRAY_LIGHT) * np.clip(np.abs(points), 0, 1) ** rng.uniform(5, 20) * side
    image = image + stray[..., None] * np.array([0.5, 1.0, 0.7], np.float32)
    aperture, fringe = (rng.uniform(*bounds) * np.exp(1j * rng.uniform(0, 2 * np.pi)) for bounds in (APERTURE, FRINGE))
    away = [np.abs(points + np.complex64(aperture + shift * fringe)) for shift in (1, 0, -0.5)]
    return image * np.clip((1 - np.stack(away, axis=2)) * 150, 0, 1)


def _jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """What JPEG leaves of an RGB image."""
    _, stream = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(stream, cv2.IMREAD_COLOR)[..., ::-1]
