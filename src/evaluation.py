"""From probability maps to the tables that are reported: image by image, and pooled by data set."""

import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np

from src import files, metrics, samples
from src.backend import tf
from src.counts import Counts, add, count, scores
from src.losses import Loss

REGIONS = ("fov", "full_image")
DIGITS = 6


def loss_of(h: metrics.Histogram, loss: Loss) -> float:
    """The loss of all pixels of a histogram, by `loss` itself with the numbers of pixels as weights."""
    levels = np.arange(metrics.LEVELS) / (metrics.LEVELS - 1)
    truth = np.concatenate([np.ones(metrics.LEVELS), np.zeros(metrics.LEVELS)])
    arguments = (truth, np.tile(levels, 2), np.concatenate(h))
    return float(loss(*(tf.constant(values, tf.float64) for values in arguments)))


class Evaluation:
    """Scores of the maps added so far, at one threshold, in the FOV and on the full image."""

    def __init__(self, threshold: float, loss: Loss) -> None:
        """Nothing added yet."""
        self.threshold = threshold
        self.loss = loss
        self.rows: list[dict] = []
        self._pooled = defaultdict(lambda: metrics.EMPTY)  # by data set and region

    def add(self, sample: samples.Sample, levels: np.ndarray) -> None:
        """Score the map `levels` (H, W) uint16 of a sample, and its second observer where there is one."""
        truth, fov, human = samples.truth(sample), samples.fov(sample), samples.second_observer(sample)
        for region, pixels in zip(REGIONS, (fov, np.ones_like(fov)), strict=True):
            h = metrics.histogram(levels, truth, pixels)
            self._pooled[sample.dataset, region] += h
            c = metrics.counts_above(h, self.threshold)
            self._row(sample, "model", region, c, metrics.score_map(h, self.threshold, loss_of(h, self.loss)))
            if human is not None:
                c = count(truth, human, pixels)
                self._row(sample, "second_observer", region, c, scores(c))

    def _row(self, sample: samples.Sample, observer: str, region: str, c: Counts, named: dict) -> None:
        place = {"dataset": sample.dataset, "id": sample.id, "group": sample.group}
        self.rows.append(place | {"observer": observer, "region": region} | c._asdict() | named)

    def summary(self) -> dict:
        """What scores.json holds: threshold, then data set -> region -> score, and the second observer's."""
        result: dict = {"threshold": self.threshold}
        for dataset in sorted({row["dataset"] for row in self.rows}):
            result[dataset] = self._observer(dataset, "model")
            human = self._observer(dataset, "second_observer")
            if human["images"]:
                result[dataset]["second_observer"] = human
        return result

    def _observer(self, dataset: str, observer: str) -> dict:
        """Number of images, and in each region the scores pooled over pixels and their means over images."""
        mine = [row for row in self.rows if (row["dataset"], row["observer"]) == (dataset, observer)]
        result: dict = {"images": len(mine) // len(REGIONS)}
        for region in REGIONS if mine else ():
            rows = [row for row in mine if row["region"] == region]
            if observer == "model":
                h = self._pooled[dataset, region]
                pooled = metrics.score_map(h, self.threshold, loss_of(h, self.loss))
            else:
                pooled = scores(add([Counts(*(row[name] for name in Counts._fields)) for row in rows]))
            result[region] = pooled | metrics.over_images([{name: row[name] for name in pooled} for row in rows])
        return result

    def write(self, out: Path) -> None:
        """Write scores.json, per_image.csv and curves.csv (by data set, pooled, in the FOV) into the folder `out`."""
        files.write_text(out / "scores.json", json.dumps(_rounded(self.summary()), indent=2) + "\n")
        _write_rows(out / "per_image.csv", self.rows)
        pooled = {dataset: h for (dataset, region), h in self._pooled.items() if region == "fov"}
        curves = [{"dataset": dataset} | row for dataset, h in pooled.items() for row in metrics.curve(h)]
        _write_rows(out / "curves.csv", curves)


def _rounded(value: object) -> object:
    """Numbers with six digits, undefined ones as None, in nested dicts."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


def _write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows under the columns of the first; an undefined or missing value is an empty cell."""
    columns = list(rows[0])
    files.write_rows(path, [columns, *([_rounded(row.get(column)) for column in columns] for row in rows)])
