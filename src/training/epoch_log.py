"""Table of a training: scores of training and validation patches, with a row an epoch."""

import math
import sys
from pathlib import Path

from tqdm import tqdm

from src.common import atomic_io
from src.metrics.confusion_matrix import Counts, accuracy, dice, iou_mean, mcc, precision, recall, specificity
from src.models.tensorflow_setup import tf

Row = list[str | int | None]  # text, the number of the epoch, empty cells
SCORES = {
    "accuracy": accuracy,
    "f1": dice,
    "iou_mean": iou_mean,
    "mcc": mcc,
    "precision": precision,
    "recall": recall,
    "specificity": specificity,
}
COLUMNS = ("loss", *SCORES)


class PixelCounts(tf.keras.metrics.Metric):
    """TP, FP, FN and TN in the FOV at probability 0.5, summed over an epoch.

    The target is (B, H, W, 2): truth and fov. Of several outputs, the first counts.
    """

    def __init__(self, name: str = "counts") -> None:
        """Begin at zero."""
        super().__init__(name=name, dtype="float32")
        self.counts = self.add_weight("counts", shape=(4,), initializer="zeros", dtype="int64")

    def update_state(self, target: tf.Tensor, probability: tf.Tensor, sample_weight: None = None) -> None:
        """Add a batch."""
        truth, fov = target[..., 0] > 0.5, target[..., 1] > 0.5
        predicted = probability[..., 0] > 0.5
        cells = (truth & predicted, ~truth & predicted, truth & ~predicted, ~truth & ~predicted)
        self.counts.assign_add(tf.stack([tf.math.count_nonzero(cell & fov, dtype=tf.int64) for cell in cells]))

    def reset_state(self) -> None:
        """Set the counts to zero."""
        self.counts.assign(tf.zeros_like(self.counts))

    def result(self) -> dict[str, tf.Tensor]:
        """Return the four counts by name."""
        return dict(zip(Counts._fields, tf.unstack(self.counts), strict=True))


class EpochLog(tf.keras.callbacks.Callback):
    """Compute scores from the counts and add a row an epoch to the training table, a CSV file."""

    def __init__(self, path: Path, rows: list[Row] | None = None) -> None:
        """Begin the table at `path`, or continue `rows`; epochs are counted through all members of an ensemble."""
        super().__init__()
        self.path = path
        self.rows: list[Row] = rows or [
            ["epoch", "learning_rate", *COLUMNS, *(f"validation_{name}" for name in COLUMNS)]
        ]
        self.epoch = len(self.rows) - 1  # the epoch that began last, from 1

    def write(self) -> None:
        """Write the table so far."""
        atomic_io.write_rows(self.path, self.rows)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Count the epoch that begins."""
        self.epoch += 1

    def scores(self, name: str, epochs: int) -> list[float]:
        """Return a validation score in the last rows, one for each of `epochs`."""
        column = self.rows[0].index(f"validation_{name}")
        return [float(row[column] or math.nan) for row in self.rows[len(self.rows) - epochs :]]

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        """Put the scores into `logs`, where early stopping reads them, and into the table."""
        row: Row = []
        for prefix in ("", "val_"):
            if f"{prefix}loss" not in logs:  # no image is held out
                row += [None] * len(COLUMNS)
                continue
            counts = Counts(*(int(logs.pop(prefix + name)) for name in Counts._fields))
            logs.update({prefix + name: score(counts) for name, score in SCORES.items()})
            row += [f"{logs[prefix + name]:.6f}" for name in COLUMNS]
        learning_rate = tf.convert_to_tensor(self.model.optimizer.learning_rate)  # one of several mirrored ones
        self.rows.append([self.epoch, f"{float(learning_rate):.6g}", *row])
        try:
            self.write()
        except OSError as error:  # no reason to lose the training: the next epoch tries again
            tqdm.write(f"warning: the row of epoch {self.epoch} is not written yet: {error}", file=sys.stderr)
