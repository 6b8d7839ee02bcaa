"""The ground that vessels lie on: pigment, choroid, macula, optic disc and lesions.

Everything is a reflectance in [0, 1] or a factor near 1, shape (H, W) or (H, W, 3) in RGB, at one pixel a
*reference pixel* (see `vessels`). Points are complex, measured from the centre of the field of view.

Ranges without a named source were chosen by eye beside DRIVE and CHASE_DB1 training photographs.
"""

from typing import NamedTuple

import cv2
import numpy as np

from src.vessels import FOV_RADIUS, Anatomy

CAMERAS = (  # red, green / red, blue / green: medians in DRIVE and CHASE_DB1 training photographs
    ((0.52, 0.97), (0.42, 0.63), (0.55, 0.76)),
    ((0.52, 0.97), (0.43, 0.63), (0.45, 0.70)),
    ((0.56, 0.99), (0.30, 0.40), (0.12, 0.30)),
)
DISC_TO_GROUND = ((1.22, 1.50), (1.60, 2.05), (1.50, 2.20))  # colour of disc / ground; seen in DRIVE
LEAST_YELLOW = 0.85  # of the disc's rim: most green / red and blue / green
CUP_TO_DISC = ((1.02, 1.12), (1.10, 1.25), (1.10, 1.55))  # the same of its cup
FOVEA_DEPTH = (0.12, 0.34)  # darkening in green of the foveola and of the macular pigment around it
TEXTURE = ((3, 0.008), (6, 0.011), (13, 0.017), (32, 0.026), (110, 0.050))  # (cell, standard deviation)
TESSELLATED = 0.35  # share of eyes with visible choroidal vessels; seen in CHASE_DB1
NET = (0.015, 0.05)  # strength of the bright net between them
LESIONS = 0.45  # share of eyes with lesions; DRIVE has 7 of 40 (Staal et al., 2004), training needs more
WEIGHTS = np.array([0.45, 1.0, 0.85], np.float32)  # of the texture's effect in red, green, blue


class Plane(NamedTuple):
    """Coordinates (H, W) complex64 of the pixels of a frame."""

    points: np.ndarray

    def distance(self, point: complex) -> np.ndarray:
        """Distance (H, W) float32 of every pixel from a point."""
        return np.abs(self.points - np.complex64(point))


def plane(height: int, width: int) -> Plane:
    """Coordinates of a frame with the origin at its centre."""
    x = np.arange(width, dtype=np.float32) - (width - 1) / 2
    y = np.arange(height, dtype=np.float32) - (height - 1) / 2
    return Plane((x[None, :] + 1j * y[:, None]).astype(np.complex64))


def noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> np.ndarray:
    """Smooth noise (H, W) float32 of mean 0 and standard deviation 1 with blobs about `cell` pixels wide."""
    coarse = tuple(int(side / cell) + 3 for side in shape)
    field = rng.standard_normal(coarse).astype(np.float32)
    fine = (round(coarse[1] * cell), round(coarse[0] * cell))
    field = cv2.resize(field, fine, interpolation=cv2.INTER_CUBIC)
    field = field[: shape[0], : shape[1]]
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def ground(rng: np.random.Generator, anatomy: Anatomy, frame: Plane) -> np.ndarray:
    """Reflectance (H, W, 3) of the eye without vessels."""
    colour = np.cumprod(_colour(rng, CAMERAS[rng.integers(len(CAMERAS))]))
    field = _texture(rng, anatomy, frame)
    image = colour * np.exp(field[..., None] * WEIGHTS)
    image *= _macula(rng, anatomy, frame)
    image = _fibres(rng, anatomy, frame, image)
    return image


def _texture(rng: np.random.Generator, anatomy: Anatomy, frame: Plane) -> np.ndarray:
    """Pigment and choroid: octaves of noise; in some eyes a bright net between choroidal vessels."""
    shape = frame.points.shape
    strength = rng.uniform(0.6, 1.4)
    field = sum(strength * share * noise(rng, shape, cell * anatomy.zoom) for cell, share in TEXTURE)
    if rng.random() < TESSELLATED:
        local = _around_disc(anatomy, frame)
        net = 1 - np.abs(noise(rng, shape, 13 * anatomy.zoom) + _rays(rng, local, (0.8, 26)))
        patches = np.clip(0.4 + noise(rng, shape, 80), 0, 1.5) * np.clip(np.abs(local) - 0.7, 0, 1)
        field = field + rng.uniform(*NET) * net * patches
    return field


def _around_disc(anatomy: Anatomy, frame: Plane) -> np.ndarray:
    """Coordinates (H, W) complex64 from the centre of the disc, in its radii."""
    return (frame.points - np.complex64(anatomy.disc)) / np.complex64(anatomy.disc_radius)


def _rays(rng: np.random.Generator, local: np.ndarray, cell: tuple[float, float]) -> np.ndarray:
    """Noise (H, W) along rays from the origin of `local` (H, W) complex; `cell`: length, number in a quarter turn."""
    length, number = cell
    size = (int(4 * number), max(int(16 / length), 2))
    coarse = rng.standard_normal(size).astype(np.float32)
    rows = (np.angle(local) / np.pi + 1) / 2 * (size[0] - 1)
    columns = np.clip(np.abs(local) / length, 0, size[1] - 1)
    return cv2.remap(coarse, columns.astype(np.float32), rows.astype(np.float32), cv2.INTER_LINEAR)


def _macula(rng: np.random.Generator, anatomy: Anatomy, frame: Plane) -> np.ndarray:
    """Factor (H, W, 3): the dark macula with a darker fovea."""
    away = frame.distance(anatomy.fovea) / anatomy.zoom
    depth = rng.uniform(*FOVEA_DEPTH)
    dark = depth * np.exp(-((away / rng.uniform(14, 22)) ** 2) / 2)
    dark += 0.5 * depth * np.exp(-((away / rng.uniform(38, 60)) ** 2) / 2)
    ring = rng.uniform(0, 0.05) * np.exp(-(((away - rng.uniform(45, 60)) / 6) ** 2) / 2) * (rng.random() < 0.3)
    weights = np.array([rng.uniform(0.5, 0.8), 1.0, 0.9], np.float32)
    return np.exp((ring - dark)[..., None] * weights)


def _fibres(rng: np.random.Generator, anatomy: Anatomy, frame: Plane, image: np.ndarray) -> np.ndarray:
    """Add the glow around the disc and the fine stripes of the nerve fibre layer that leave it."""
    local = _around_disc(anatomy, frame)
    stripes = _rays(rng, local, (1.2, 45))
    near = np.exp(-((np.maximum(np.abs(local) - 0.8, 0) / rng.uniform(1.0, 2.0)) ** 1.5))
    glow = near * (rng.uniform(0.05, 0.22) + rng.uniform(0.0, 0.10) * stripes)
    return image * (1 + glow[..., None] * np.array([0.5, 1.0, 0.9], np.float32))


def add_disc(rng: np.random.Generator, anatomy: Anatomy, frame: Plane, image: np.ndarray) -> np.ndarray:
    """Paint the optic disc: an ellipse with a soft rim, paler towards the macula, and its cup."""
    axis = (anatomy.fovea - anatomy.disc) / abs(anatomy.fovea - anatomy.disc)
    local = _around_disc(anatomy, frame) / np.complex64(axis)
    wobble = 1 + 0.03 * noise(rng, frame.points.shape, 25 * anatomy.zoom)
    away = np.abs(local.real + 1j * local.imag * rng.uniform(0.88, 1.0)) * wobble
    disc = _step(1 - away, rng.uniform(0.03, 0.08) + 0.06 * np.clip(-local.real, 0, 1))
    cup_centre = complex(rng.uniform(0.05, 0.2), rng.uniform(-0.1, 0.1))
    cup = _step(rng.uniform(0.28, 0.55) - np.abs(local - np.complex64(cup_centre)), rng.uniform(0.12, 0.22))
    rim = np.median(image, axis=(0, 1)) * _colour(rng, DISC_TO_GROUND)
    rim[1:] = np.minimum(rim[1:], (LEAST_YELLOW * rim[0], LEAST_YELLOW * rim[1]))
    paint = rim * (1 + (_colour(rng, CUP_TO_DISC) - 1) * cup[..., None])
    uneven = 0.10 * np.clip(local.real, -1, 1) + 0.03 * noise(rng, frame.points.shape, 9)
    paint = paint * (1 + uneven)[..., None]
    crescent = _step(1.18 - np.abs(local - np.complex64(rng.uniform(0.0, 0.1))), 0.08) - disc
    image = image * (1 + rng.uniform(-0.18, 0.15) * np.clip(crescent, 0, 1)[..., None])
    return image + (paint - image) * (rng.uniform(0.75, 0.92) * disc)[..., None]


def _step(signed: np.ndarray, softness: float) -> np.ndarray:
    """1 where `signed` is well above 0, 0 where well below."""
    return np.clip(signed / (2 * softness) + 0.5, 0, 1)


def _colour(rng: np.random.Generator, ranges: tuple) -> np.ndarray:
    return np.array([rng.uniform(*bounds) for bounds in ranges], np.float32)


class Spots(NamedTuple):
    """A kind of lesion: how many, and lengths in reference pixels; factor is on RGB."""

    count: tuple[int, int]
    radius: tuple[float, float]
    factor: tuple[float, float, float]
    irregularity: float
    spread: float
    blur: float


KINDS = {
    "exudates": Spots((8, 45), (1.0, 4.0), (1.18, 1.55, 1.25), 0.4, 35.0, 0.7),
    "drusen": Spots((10, 60), (1.0, 3.5), (1.06, 1.16, 1.05), 0.15, 60.0, 1.0),
    "haemorrhages": Spots((1, 9), (3.0, 11.0), (0.84, 0.62, 0.74), 0.5, 150.0, 1.5),
    "microaneurysms": Spots((3, 18), (1.0, 2.2), (0.88, 0.72, 0.80), 0.1, 120.0, 0.7),
    "cotton wool": Spots((1, 4), (7.0, 15.0), (1.08, 1.25, 1.25), 0.5, 120.0, 3.5),
}


def add_lesions(rng: np.random.Generator, anatomy: Anatomy, frame: Plane, image: np.ndarray) -> np.ndarray:
    """Paint lesions of one to three kinds into some eyes."""
    if rng.random() > LESIONS:
        return image
    names = rng.choice(sorted(KINDS), size=rng.integers(1, 4), replace=False)
    for name in names:
        image = _add_spots(rng, anatomy, frame, image, KINDS[str(name)])
    return image


def _add_spots(rng: np.random.Generator, anatomy: Anatomy, frame: Plane, image: np.ndarray, kind: Spots) -> np.ndarray:
    height, width = frame.points.shape
    cover = np.zeros((height, width), np.uint8)
    middle = complex((width - 1) / 2, (height - 1) / 2)
    centre = anatomy.fovea + complex(*rng.normal(0, 70, 2)) * anatomy.zoom
    for _ in range(rng.integers(*kind.count)):
        point = centre + complex(*rng.normal(0, kind.spread, 2)) * anatomy.zoom
        radius = anatomy.zoom * np.exp(rng.uniform(*np.log(kind.radius)))
        if abs(point - anatomy.disc) > 1.3 * anatomy.disc_radius + radius and abs(point) < FOV_RADIUS:
            outline = point + middle + _blob(rng, radius, kind.irregularity)
            corners = np.rint(np.stack([outline.real, outline.imag], axis=1) * 8).astype(np.int32)
            cv2.fillPoly(cover, [corners], 255, cv2.LINE_AA, 3)
    soft = cv2.GaussianBlur(cover, (0, 0), kind.blur).astype(np.float32)[..., None] / 255
    strength = rng.uniform(0.5, 1.0)
    return image * np.exp(strength * soft * np.log(np.array(kind.factor, np.float32)))


def _blob(rng: np.random.Generator, radius: float, irregularity: float) -> np.ndarray:
    """Outline (24,) complex of an irregular, somewhat elongated blob around 0."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    waves = [rng.normal(0, 0.5 / k) * np.cos(k * angle + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4, 5)]
    radii = 1 + irregularity * np.sum(waves, axis=0)
    outline = radius * np.maximum(radii, 0.3) * (np.cos(angle) * rng.uniform(0.6, 1.0) + 1j * np.sin(angle))
    return outline * np.exp(1j * rng.uniform(0, np.pi))
