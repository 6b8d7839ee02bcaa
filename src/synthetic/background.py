"""Background of the vessels: pigment, choroid, macula, nerve fibre layer and optic disc.

Everything is a reflectance in [0, 1] or a factor near 1, shape (H, W) or (H, W, 3) in RGB, at the scale of reference
pixels. Lengths and points are those of `anatomy`.

Ranges without a named source were chosen by visual comparison with training images of DRIVE and CHASE_DB1.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.synthetic.anatomy import Anatomy

CAMERAS = (  # red, green / red, blue / green: medians in training images of DRIVE and CHASE_DB1
    ((0.52, 0.97), (0.42, 0.63), (0.55, 0.76)),
    ((0.52, 0.97), (0.43, 0.63), (0.45, 0.70)),
    ((0.56, 0.99), (0.30, 0.40), (0.12, 0.30)),
)
DISC_TO_BACKGROUND = ((1.22, 1.50), (1.60, 2.05), (1.50, 2.20))  # colour of disc / background; observed in DRIVE
MAX_DISC_COLOUR_RATIO = 0.85  # of the disc's rim: green / red and blue / green
CUP_TO_DISC = ((1.02, 1.12), (1.10, 1.25), (1.10, 1.55))  # the same of its cup
FOVEA_DEPTH = (0.12, 0.34)  # darkening in green of the foveola and of the macular pigment around it
TEXTURE = ((3, 0.008), (6, 0.011), (13, 0.017), (32, 0.026), (110, 0.050))  # (cell, standard deviation)
TESSELLATED_FRACTION = 0.35  # of images with visible choroidal vessels; observed in CHASE_DB1
CHOROIDAL_NET = (0.015, 0.05)  # amplitude of the bright net between choroidal vessels
TEXTURE_WEIGHTS = np.array([0.45, 1.0, 0.85], np.float32)  # of the texture in red, green, blue


class PixelGrid(NamedTuple):
    """Coordinates (H, W) complex64 of the pixels of an image."""

    points: np.ndarray

    def distance(self, point: complex) -> np.ndarray:
        """Return the distance (H, W) float32 of every pixel from a point."""
        return np.abs(self.points - np.complex64(point))


def pixel_grid(height: int, width: int) -> PixelGrid:
    """Return the coordinates of an image with the origin at its centre."""
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2
    y = np.arange(height, dtype=np.float32) - (height - 1) / 2
    return PixelGrid((x[None, :] + 1j * y[:, None]).astype(np.complex64))


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Return smooth noise (H, W) float32 of mean 0 and standard deviation 1 with blobs about `cell` pixels wide."""
    rows, columns = (int(side / cell) + 3 for side in shape)
    coarse = rng.standard_normal((rows, columns)).astype(np.float32)
    fine = cv2.resize(coarse, (round(columns * cell), round(rows * cell)), interpolation=cv2.INTER_CUBIC)
    field = fine[: shape[0], : shape[1]]
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def render_background(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid) -> np.ndarray:
    """Render the reflectance (H, W, 3) of the fundus without vessels and optic disc."""
    colour = np.cumprod(_random_colour(rng, CAMERAS[rng.integers(len(CAMERAS))]))
    field = _pigment_and_choroid(rng, anatomy, grid)
    image = colour * np.exp(field[..., None] * TEXTURE_WEIGHTS)
    image *= _macula(rng, anatomy, grid)
    image = _nerve_fibre_layer(rng, anatomy, grid, image)
    return image


def _pigment_and_choroid(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid) -> np.ndarray:
    """Return log reflectance (H, W) of pigment and choroid: octaves of noise, in some images choroidal vessels."""
    shape = grid.points.shape
    strength = rng.uniform(0.6, 1.4)
    field: np.ndarray = np.zeros(shape, np.float32)
    for cell, deviation in TEXTURE:
        field = field + strength * deviation * smooth_noise(rng, shape, cell * anatomy.magnification)
    if rng.random() < TESSELLATED_FRACTION:
        local = _disc_coordinates(anatomy, grid)
        net = 1 - np.abs(smooth_noise(rng, shape, 13 * anatomy.magnification) + _radial_noise(rng, local, (0.8, 26)))
        patches = np.clip(0.4 + smooth_noise(rng, shape, 80), 0, 1.5) * np.clip(np.abs(local) - 0.7, 0, 1)
        field = field + rng.uniform(*CHOROIDAL_NET) * net * patches
    return field


def _disc_coordinates(anatomy: Anatomy, grid: PixelGrid) -> np.ndarray:
    """Return coordinates (H, W) complex64 from the centre of the optic disc, in its radii."""
    return (grid.points - np.complex64(anatomy.disc)) / np.complex64(anatomy.disc_radius)


def _radial_noise(rng: np.random.Generator, local: np.ndarray, cell: tuple[float, float]) -> np.ndarray:
    """Return noise (H, W) along rays from the origin of `local` (H, W) complex.

    `cell`: length of a cell, and number of cells in 90 degrees.
    """
    length, number = cell
    size = (int(4 * number), max(int(16 / length), 2))
    coarse = rng.standard_normal(size).astype(np.float32)
    rows = (np.angle(local) / np.pi + 1) / 2 * (size[0] - 1)
    columns = np.clip(np.abs(local) / length, 0, size[1] - 1)
    return cv2.remap(coarse, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)


def _macula(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid) -> np.ndarray:
    """Return the factor (H, W, 3) of the dark macula with a darker fovea."""
    away = grid.distance(anatomy.fovea) / anatomy.magnification
    depth = rng.uniform(*FOVEA_DEPTH)
    dark = depth * np.exp(-((away / rng.uniform(14, 22)) ** 2) / 2)
    dark += 0.5 * depth * np.exp(-((away / rng.uniform(38, 60)) ** 2) / 2)
    ring = rng.uniform(0, 0.05) * np.exp(-(((away - rng.uniform(45, 60)) / 6) ** 2) / 2) * (rng.random() < 0.3)
    weights = np.array([rng.uniform(0.5, 0.8), 1.0, 0.9], np.float32)
    return np.exp((ring - dark)[..., None] * weights)


def _nerve_fibre_layer(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid, image: np.ndarray) -> np.ndarray:
    """Add the peripapillary glow and the fine stripes of the nerve fibre layer."""
    local = _disc_coordinates(anatomy, grid)
    stripes = _radial_noise(rng, local, (1.2, 45))
    near = np.exp(-((np.maximum(np.abs(local) - 0.8, 0) / rng.uniform(1.0, 2.0)) ** 1.5))
    glow = near * (rng.uniform(0.05, 0.22) + rng.uniform(0.0, 0.10) * stripes)
    return image * (1 + glow[..., None] * np.array([0.5, 1.0, 0.9], np.float32))


def add_optic_disc(rng: np.random.Generator, anatomy: Anatomy, grid: PixelGrid, image: np.ndarray) -> np.ndarray:
    """Add the optic disc to an image (H, W, 3): an ellipse with a soft rim, paler towards the macula, and its cup."""
    axis = (anatomy.fovea - anatomy.disc) / abs(anatomy.fovea - anatomy.disc)
    local = _disc_coordinates(anatomy, grid) / np.complex64(axis)
    wobble = 1 + 0.03 * smooth_noise(rng, grid.points.shape, 25 * anatomy.magnification)
    away = np.abs(local.real + 1j * local.imag * rng.uniform(0.88, 1.0)) * wobble
    disc = _soft_step(1 - away, rng.uniform(0.03, 0.08) + 0.06 * np.clip(-local.real, 0, 1))
    cup_centre = complex(rng.uniform(0.05, 0.2), rng.uniform(-0.1, 0.1))
    cup = _soft_step(rng.uniform(0.28, 0.55) - np.abs(local - np.complex64(cup_centre)), rng.uniform(0.12, 0.22))
    rim = np.median(image, axis=(0, 1)) * _random_colour(rng, DISC_TO_BACKGROUND)
    rim[1:] = np.minimum(rim[1:], (MAX_DISC_COLOUR_RATIO * rim[0], MAX_DISC_COLOUR_RATIO * rim[1]))
    paint = rim * (1 + (_random_colour(rng, CUP_TO_DISC) - 1) * cup[..., None])
    uneven = 0.10 * np.clip(local.real, -1, 1) + 0.03 * smooth_noise(rng, grid.points.shape, 9)
    paint = paint * (1 + uneven)[..., None]
    crescent = _soft_step(1.18 - np.abs(local - np.complex64(rng.uniform(0.0, 0.1))), 0.08) - disc
    image = image * (1 + rng.uniform(-0.18, 0.15) * np.clip(crescent, 0, 1)[..., None])
    return image + (paint - image) * (rng.uniform(0.75, 0.92) * disc)[..., None]


def _soft_step(signed: np.ndarray, softness: np.ndarray | float) -> np.ndarray:
    """Return a linear step from 0 to 1 at 0, `softness` wide on either side."""
    return np.clip(signed / (2 * softness) + 0.5, 0, 1)


def _random_colour(rng: np.random.Generator, ranges: tuple[tuple[float, float], ...]) -> np.ndarray:
    """Draw a value of each range, float32."""
    return np.array([rng.uniform(*bounds) for bounds in ranges], np.float32)
