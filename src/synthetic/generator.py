"""Generate synthetic colour fundus images with exact vessel ground truth: the embedded data set `phantom`.

A fundus is composed at the scale of reference pixels (see `anatomy`) and resized to the size of the image. Then a
camera is simulated: uneven illumination, blur, noise, JPEG, a round field of view on black.

Ranges without a named source were chosen by visual comparison with training images of DRIVE and CHASE_DB1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic import background, lesions, small_vessels, vascular_tree, vessel_rendering
from src.synthetic.anatomy import FOV_RADIUS, Anatomy, Vessel, covered_area

MIN_SIDE = 96  # pixels; below it only arcades are a pixel wide
FOV_TO_SIDE = 0.956  # diameter of the FOV / shorter side: 540 / 565 in DRIVE
CUT_FOV_FRACTION = 0.35  # of images whose FOV is cut at top and bottom, as in DRIVE and HRF
CUT_HEIGHT = (0.84, 0.97)  # half height of a cut FOV / radius
DISC_CENTRED_FRACTION = 0.2  # of images centred on the disc, as in CHASE_DB1
DISC_TO_FOVEA = (192.0, 216.0)  # reference pixels at 45 degrees; observed in DRIVE
DISC_RADIUS = (35.0, 42.0)  # the same
DISC_ABOVE_FOVEA = (0.02, 0.18)  # radians
DISC_CENTRED_MAGNIFICATION = (1.15, 1.35)  # the FOV of CHASE_DB1 has 30 degrees
VESSEL_FRACTION = (0.099, 0.011)  # of the FOV: mean, standard deviation; DRIVE .126, CHASE_DB1 .10
VESSEL_FRACTION_LIMITS = (0.080, 0.125)
LARGE_VESSEL_FRACTION = (0.55, 0.80)  # of that area, covered by the vascular tree without small vessels
ABSORPTION = ((0.15, 0.40), (0.76, 1.18), (0.50, 0.90))  # of blood in red, green, blue; near the ratios of DRIVE
DISC_DENSITY_GAIN = 0.6  # relative: vessels on the bright disc look darker
VIGNETTING = (0.05, 0.35)  # loss of illumination at the edge
ILLUMINATION_SLOPE = (0.0, 0.12)  # gain and loss of illumination from the centre to two opposite edges
ILLUMINATION_PATCHES = (0.04, 0.075, 0.05)  # standard deviation of soft bright patches in red, green, blue
COLOURED_PATCHES = (0.06, 0.03, 0.05)  # the same, independent in each colour: the background colour of DRIVE varies
STRAY_LIGHT = (0.0, 0.14)  # added at one side of the rim, greenish; observed in DRIVE
APERTURE_SHIFT = (0.0, 0.02)  # of the illuminated disc / FOV radius: a dark crescent at the rim; observed in DRIVE
COLOUR_FRINGE = (0.0, 0.005)  # shift of the red border of the FOV / its radius; observed in DRIVE
SHARPENING = (0.0, 0.4)  # unsharp masking by the camera; DRIVE has bright seams along dark vessels
BLUR = (0.55, 1.0)  # reference pixels, standard deviation
NOISE = (0.007, 0.020)  # fraction of white, less in dark regions; DRIVE .013 to .022 with texture
JPEG_QUALITY = (80, 97)


class SyntheticImage(NamedTuple):
    """A synthetic image (H, W, 3) uint8 RGB with its ground truth and FOV, (H, W) bool."""

    image: np.ndarray
    truth: np.ndarray
    fov: np.ndarray


def generate(seed: int, index: int, height: int, width: int) -> SyntheticImage:
    """Generate image number `index` of the series `seed`: always the same bytes, different for every pair.

    Raises:
        ValueError: height or width is below `MIN_SIDE`.
    """
    if min(height, width) < MIN_SIDE:
        raise ValueError(f"phantom: expected at least {MIN_SIDE} pixels a side, got {width}x{height}")
    rng = np.random.default_rng([seed, index])
    scale = FOV_TO_SIDE * min(height, width) / (2 * FOV_RADIUS)
    anatomy = _random_anatomy(rng)
    size = (height / scale, width / scale)
    fraction = np.clip(rng.normal(*VESSEL_FRACTION), *VESSEL_FRACTION_LIMITS)
    vessels = _grow_vessels(rng, anatomy, fraction * np.pi * FOV_RADIUS**2)
    rendered = vessel_rendering.render_vessels(vessels, size)
    reflectance = _resize(_reflectance(rng, anatomy, rendered, size), height, width)
    fov = _fov(rng, scale, height, width)
    truth = (_resize(rendered.label, height, width) > 127) & fov
    return SyntheticImage(_simulate_camera(rng, reflectance, fov, scale), truth, fov)


def _random_anatomy(rng: np.random.Generator) -> Anatomy:
    """Draw a left or right eye, its landmarks, and the centre of the field of view."""
    side = rng.choice((-1, 1))
    tilt = rng.uniform(*DISC_ABOVE_FOVEA)
    if rng.random() < DISC_CENTRED_FRACTION:
        magnification = rng.uniform(*DISC_CENTRED_MAGNIFICATION)
        disc = complex(rng.uniform(-40, 40), rng.uniform(-30, 30))
        fovea = disc + magnification * rng.uniform(*DISC_TO_FOVEA) * complex(side * np.cos(tilt), np.sin(tilt))
    else:
        magnification = rng.uniform(0.95, 1.05)
        fovea = complex(rng.uniform(-30, 30), rng.uniform(-20, 25))
        disc = fovea - magnification * rng.uniform(*DISC_TO_FOVEA) * complex(side * np.cos(tilt), np.sin(tilt))
    return Anatomy(disc, fovea, magnification * rng.uniform(*DISC_RADIUS), magnification)


def _grow_vessels(rng: np.random.Generator, anatomy: Anatomy, area: float) -> list[Vessel]:
    """Grow vessels that cover `area` square reference pixels: the vascular tree, then small vessels in its gaps."""
    tree = vascular_tree.grow_tree(rng, anatomy, rng.uniform(*LARGE_VESSEL_FRACTION) * area)
    return tree + small_vessels.grow_small_vessels(rng, anatomy, tree, area - sum(map(covered_area, tree)))


def _reflectance(
    rng: np.random.Generator, anatomy: Anatomy, rendered: vessel_rendering.RenderedVessels, size: tuple[float, float]
) -> np.ndarray:
    """Render the reflectance (H, W, 3) float32 of the fundus at the scale of reference pixels."""
    grid = background.pixel_grid(round(size[0]), round(size[1]))
    image = background.render_background(rng, anatomy, grid)
    image = background.add_optic_disc(rng, anatomy, grid, image)
    image = lesions.add_lesions(rng, anatomy, grid, image)
    density = _resize(rendered.density, *grid.points.shape)
    on_disc = np.exp(-((grid.distance(anatomy.disc) / anatomy.disc_radius) ** 8))
    density = density * (1 + DISC_DENSITY_GAIN * on_disc)
    absorption = np.array([rng.uniform(*bounds) for bounds in ABSORPTION], np.float32)
    return image * np.exp(-density[..., None] * absorption)


def _resize(array: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize an array: averaged over areas where it shrinks, linear where it grows."""
    smaller = height < array.shape[0]
    return cv2.resize(array, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)


def _fov(rng: np.random.Generator, scale: float, height: int, width: int) -> np.ndarray:
    """Draw the field of view (H, W) bool: a disc, in some images cut at top and bottom."""
    points = background.pixel_grid(height, width).points / np.float32(scale * FOV_RADIUS)
    fov = np.abs(points) < 1
    if rng.random() < CUT_FOV_FRACTION:
        fov &= np.abs(points.imag) < rng.uniform(*CUT_HEIGHT)
    return fov


def _simulate_camera(rng: np.random.Generator, reflectance: np.ndarray, fov: np.ndarray, scale: float) -> np.ndarray:
    """Simulate a camera that records a reflectance (H, W, 3): 8-bit RGB image, black outside the FOV."""
    image: np.ndarray = reflectance * _illumination(rng, fov.shape, scale)
    image = _fov_edge(rng, image, scale)
    image = cv2.GaussianBlur(image, (0, 0), max(rng.uniform(*BLUR) * scale, 0.3))
    image = image + rng.uniform(*SHARPENING) * (image - cv2.GaussianBlur(image, (0, 0), max(2 * scale, 0.5)))
    grain: np.ndarray = rng.standard_normal((*fov.shape, 3), dtype=np.float32)
    grain = cv2.GaussianBlur(grain, (0, 0), rng.uniform(0.4, 0.7))
    grain = (grain + grain.mean(axis=2, keepdims=True)) / max(float(grain.std()), 1e-6)
    image = image + rng.uniform(*NOISE) * grain * np.clip(image, 0.02, 1) ** 0.7
    image = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8) * fov[..., None]
    return _compress_jpeg(image, int(rng.integers(*JPEG_QUALITY))) * fov[..., None]


def _illumination(rng: np.random.Generator, shape: tuple[int, int], scale: float) -> np.ndarray:
    """Draw uneven illumination (H, W, 3) around 1: vignetting, a slope, large soft patches."""
    points = background.pixel_grid(*shape).points / np.float32(scale * FOV_RADIUS)
    centre = complex(*rng.normal(0, 0.15, 2))
    vignetting = 1 - rng.uniform(*VIGNETTING) * np.abs(points - np.complex64(centre)) ** 2
    slope = 1 + rng.uniform(*ILLUMINATION_SLOPE) * (points * np.complex64(np.exp(1j * rng.uniform(0, 2 * np.pi)))).real
    shared, *single = (background.smooth_noise(rng, shape, 180 * scale) for _ in range(4))
    patches = 1 + shared[..., None] * np.array(ILLUMINATION_PATCHES, np.float32)
    patches = patches + np.stack(single, axis=2) * np.array(COLOURED_PATCHES, np.float32)
    return np.clip((vignetting * slope)[..., None] * patches, 0.2, 1.5).astype(np.float32)


def _fov_edge(rng: np.random.Generator, image: np.ndarray, scale: float) -> np.ndarray:
    """Add stray light at one side of the rim to an image (H, W, 3), and darken it outside the illuminated disc.

    That disc is shifted against the FOV by up to `APERTURE_SHIFT`, slightly differently for each colour.
    """
    points = background.pixel_grid(*image.shape[:2]).points / np.float32(scale * FOV_RADIUS)
    direction = np.exp(1j * rng.uniform(0, 2 * np.pi))
    side = np.clip((points * np.complex64(direction)).real + 0.4, 0, 1)
    stray = rng.uniform(*STRAY_LIGHT) * np.clip(np.abs(points), 0, 1) ** rng.uniform(5, 20) * side
    image = image + stray[..., None] * np.array([0.5, 1.0, 0.7], np.float32)
    aperture, fringe = (
        rng.uniform(*bounds) * np.exp(1j * rng.uniform(0, 2 * np.pi)) for bounds in (APERTURE_SHIFT, COLOUR_FRINGE)
    )
    away = [np.abs(points + np.complex64(aperture + shift * fringe)) for shift in (1, 0, -0.5)]
    return image * np.clip((1 - np.stack(away, axis=2)) * 150, 0, 1)


def _compress_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress an RGB image to JPEG and decode it."""
    _, stream = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(stream, cv2.IMREAD_COLOR)
    if decoded is None:
        raise ValueError(f"phantom: expected OpenCV to decode its own JPEG of quality {quality}")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)
