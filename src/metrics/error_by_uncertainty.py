"""Error rate by uncertainty: pixels of the field of view counted in bins of their uncertainty.

It shows whether predictions are wrong more often where the uncertainty (test-time augmentation) is high.
"""

from collections import defaultdict

import numpy as np

BIN_ENDS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 1.0)  # each bin contains its upper end


class UncertaintyHistogram:
    """Number of pixels in the FOV, and of wrong ones among them, by data set and bin of uncertainty."""

    def __init__(self) -> None:
        """Start with no pixel counted."""
        self.pixels: defaultdict[str, np.ndarray] = defaultdict(lambda: np.zeros((2, len(BIN_ENDS)), np.int64))

    def add(self, dataset: str, uncertainty: np.ndarray | None, wrong: np.ndarray, fov: np.ndarray) -> None:
        """Count the pixels of an image.

        Args:
            dataset: the data set of the image.
            uncertainty: (H, W) in [0, 1]; None where it was predicted without test-time augmentation: no pixel counts.
            wrong: where prediction and ground truth differ, (H, W) bool.
            fov: field of view, (H, W) bool.
        """
        counted = self.pixels[dataset]
        if uncertainty is None:
            return
        bins = np.searchsorted(np.asarray(BIN_ENDS, uncertainty.dtype), uncertainty)
        counted += [np.bincount(bins[part], minlength=len(BIN_ENDS)) for part in (fov, fov & wrong)]

    def rows(self) -> list[dict[str, str | float]]:
        """Return a row for each data set and bin: upper end, pixels, errors, and error rate (NaN without a pixel)."""
        return [
            {
                "dataset": dataset,
                "uncertainty_up_to": end,
                "pixels": int(pixels),
                "errors": int(wrong),
                "error_rate": wrong / pixels if pixels else float("nan"),
            }
            for dataset, counted in sorted(self.pixels.items())
            for end, pixels, wrong in zip(BIN_ENDS, *counted, strict=True)
        ]
