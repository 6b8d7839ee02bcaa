"""Vessel maps that tests of metrics share."""

import numpy as np
from scipy import ndimage

EIGHT_CONNECTED = np.ones((3, 3))


def vessel_map(*rows: str) -> np.ndarray:
    return np.array([[pixel != "." for pixel in row] for row in rows])


def field(side: int = 540) -> np.ndarray:
    """A FOV in which a pixel is a pixel."""
    return np.ones((side, side), bool)


def on_field(vessels: np.ndarray, row: int = 50, column: int = 50) -> np.ndarray:
    whole = np.zeros((540, 540), bool)
    whole[row : row + vessels.shape[0], column : column + vessels.shape[1]] = vessels
    return whole


def random_map(seed: int) -> np.ndarray:
    """Noise, blobs or lines, of odd shape."""
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(20, 80, 2))
    noise = rng.random(shape)
    if seed % 3 == 0:
        return noise < rng.uniform(0.02, 0.6)
    smooth = ndimage.gaussian_filter(noise, rng.uniform(1, 3))
    if seed % 3 == 1:
        return smooth > np.quantile(smooth, rng.uniform(0.5, 0.95))
    return np.abs(smooth - np.median(smooth)) < np.quantile(np.abs(smooth - np.median(smooth)), rng.uniform(0.1, 0.3))


def random_pair(seed: int) -> tuple[np.ndarray, np.ndarray]:
    truth = random_map(seed)
    return truth, np.roll(truth, (1, 2), (0, 1)) ^ (np.random.default_rng(seed + 1000).random(truth.shape) < 0.05)


def bar(width: float, degrees: float, side: int = 161) -> np.ndarray:
    """A straight bar through the centre, 120 pixels long."""
    y, x = np.mgrid[:side, :side] - side // 2 + 0.0
    sine, cosine = np.sin(np.deg2rad(degrees)), np.cos(np.deg2rad(degrees))
    across, along = x * sine - y * cosine, x * cosine + y * sine
    return (-width / 2 <= across) & (across < width / 2) & (np.abs(along) < 60)


def widths_field() -> np.ndarray:
    """Bars of 2, 4 and 8 pixels across a field, apart."""
    whole = np.zeros((540, 540), bool)
    for row, width in ((100, 2), (200, 4), (300, 8)):
        whole[row : row + width, 20:520] = True
    return whole


VESSEL_MAPS = {  # map, components, loops
    "empty": (vessel_map("...", "...", "..."), 0, 0),
    "full": (vessel_map("###", "###", "###"), 1, 0),
    "one pixel": (vessel_map("...", ".#.", "..."), 1, 0),
    "ring": (vessel_map("###", "#.#", "###"), 1, 1),
    "ring of corners": (vessel_map(".#.", "#.#", ".#."), 1, 1),
    "open at the edge": (vessel_map("###", "#.#", "#.#"), 1, 0),
    "across the corner": (vessel_map("#.#", "...", "#.#"), 4, 0),
    "two holes that touch": (vessel_map("####", "#.##", "##.#", "####"), 1, 2),
    "component in a ring": (vessel_map("#####", "#...#", "#.#.#", "#...#", "#####"), 2, 1),
}
