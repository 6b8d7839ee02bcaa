"""Is the network wrong more often where it doubts? Pixels counted by their doubt (see `src.predictor`)."""

from collections import defaultdict

import numpy as np

UP_TO = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 1.0)  # ends of the classes; each holds its upper end


class Tally:
    """Pixels of the FOV, and those of them that are wrong, by class of doubt and data set."""

    def __init__(self) -> None:
        """Nothing counted yet."""
        self.pixels = defaultdict(lambda: np.zeros((2, len(UP_TO)), np.int64))

    def add(self, dataset: str, doubt: np.ndarray | None, wrong: np.ndarray, fov: np.ndarray) -> None:
        """Count a photograph: doubt (H, W) in [0, 1], None where no flips were shown; wrong and fov (H, W) bool.

        Without flips no pixel is counted.
        """
        if doubt is None:
            doubt, fov = np.zeros(fov.shape), np.zeros_like(fov)
        place = np.searchsorted(np.asarray(UP_TO, doubt.dtype), doubt)
        for counted, part in zip(self.pixels[dataset], (fov, fov & wrong), strict=True):
            counted += np.bincount(place[part], minlength=len(UP_TO))

    def rows(self) -> list[dict]:
        """A row for each data set and class: its upper end, pixels, wrong ones, and their share (NaN of no pixel)."""
        return [
            {
                "dataset": dataset,
                "doubt_up_to": end,
                "pixels": int(pixels),
                "wrong": int(wrong),
                "wrong_share": wrong / pixels if pixels else float("nan"),
            }
            for dataset, counted in sorted(self.pixels.items())
            for end, pixels, wrong in zip(UP_TO, *counted, strict=True)
        ]
