"""A whole prepared image through a network, whatever runs it: its probability map, and where the network doubts."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from src import patches

Forward = Callable[[np.ndarray], np.ndarray]  # (B, H, W, 3) float32 in 0..255 to (B, H, W, 1) float32 probability
STEP = 32  # the networks halve an image five times
FLIPS = ((), (0,), (1,), (0, 1))  # the axes turned over


class Views(NamedTuple):
    """How a photograph is shown to the network.

    Whole where its sides are at most `tile` pixels, else in tiles that overlap by `overlap` pixels, at most half of
    them, and are blended smoothly; with `flips` four times, turned over; `batch_size` flips at once. All that in each
    of the `scales`, which are of its usual size.
    """

    tile: int
    overlap: int
    flips: bool
    batch_size: int
    scales: tuple[float, ...]


class Maps(NamedTuple):
    """What a network says of an image: probability of vessel and doubt, (H, W) float32 in [0, 1].

    The probability is the mean over all views. The doubt is twice their standard deviation: 0 where all agree, 1 where
    half of them are sure of a vessel and half are sure of none; None where there are no flips.
    """

    probability: np.ndarray
    doubt: np.ndarray | None

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> "Maps":
        """Both maps, changed in the same way."""
        return Maps(change(self.probability), None if self.doubt is None else change(self.doubt))


def mean(maps: list[Maps]) -> Maps:
    """The maps over all views of which each of these is over as many."""
    probabilities = np.stack([each.probability for each in maps])
    probability = probabilities.mean(axis=0)
    if len(maps) == 1 or maps[0].doubt is None:
        return Maps(probability, maps[0].doubt)
    # The variance of all is the mean of those within a scale, and that of the means; resizing may take it beyond 1/4.
    within = np.mean([np.square(each.doubt / 2) for each in maps], axis=0)
    return Maps(probability, np.minimum(2 * np.sqrt(within + probabilities.var(axis=0)), np.float32(1)))


class Predictor:
    """A network, ready to map prepared images of any size; in which `scales`, `segment.photograph` sees to."""

    def __init__(self, forward: Forward, side: int | None, views: Views) -> None:
        """Take the network; one whose input has a fixed `side` takes tiles of that size, another (None) any."""
        self.forward = forward
        self.whole = side is None
        self.tile = views.tile if side is None else side
        self.stride = self.tile - min(views.overlap, self.tile // 2)
        self.flips = FLIPS if views.flips else FLIPS[:1]
        self.batch_size = views.batch_size
        self.scales = views.scales

    def maps(self, image: np.ndarray) -> Maps:
        """The maps (H, W) of an (H, W, 3) uint8 prepared image."""
        height, width = image.shape[:2]
        if self.whole and max(height, width) <= self.tile:
            padding = ((0, -height % STEP), (0, -width % STEP), (0, 0))
            padded = self._maps(np.pad(image, padding, constant_values=patches.NEUTRAL))
            return padded.each(lambda part: part[:height, :width])
        corners = patches.positions((height, width), self.tile, self.stride)
        stitchers = [patches.Stitcher((height, width), self.tile) for _ in Maps._fields]
        for corner in corners:
            of_tile = self._maps(patches.cut(image, corner, self.tile))
            for stitcher, part in zip(stitchers, of_tile, strict=True):
                if part is not None:
                    stitcher.add(part, corner)
        probability, doubt = stitchers
        return Maps(probability.result(), doubt.result() if len(self.flips) > 1 else None)

    def _maps(self, image: np.ndarray) -> Maps:
        """The maps (h, w) of an image whose sides the network takes."""
        shown = np.empty((len(self.flips), *image.shape[:2]), np.float32)
        for begin in range(0, len(self.flips), self.batch_size):
            flips = self.flips[begin : begin + self.batch_size]
            batch = np.stack([np.flip(image, axes) for axes in flips]).astype(np.float32)
            for place, (axes, probability) in enumerate(zip(flips, self.forward(batch), strict=True), begin):
                shown[place] = np.flip(probability[..., 0], axes)
        return Maps(shown.mean(axis=0), 2 * shown.std(axis=0) if len(self.flips) > 1 else None)
