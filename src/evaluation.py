"""From probability maps to the tables that are reported: image by image, and by data set with intervals."""

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src import counts, doubt, files, intervals, metrics, reported, samples, structure
from src.backend import tf
from src.counts import Counts
from src.losses import Loss

REGIONS = ("fov", "full_image")
HALF = 0.5
PLACE = ("dataset", "id", "group", "observer", "region")
DIGITS = 6


class ProbabilityMap(NamedTuple):
    """A map (H, W) uint16 of levels, and the threshold above which it says vessel."""

    levels: np.ndarray
    threshold: float

    def vessels(self) -> np.ndarray:
        """The map beyond its threshold, (H, W) bool."""
        return self.levels >= metrics.first_level(self.threshold)


class Rules(NamedTuple):
    """How to score: threshold and loss of the model; widths, draws and seed as in section `evaluate` of params.yaml."""

    threshold: float
    loss: Loss
    widths: tuple[float, float]
    draws: int
    seed: int


def loss_of(h: metrics.Histogram, loss: Loss) -> float:
    """The loss of all pixels of a histogram, by `loss` itself with the numbers of pixels as weights."""
    levels = np.arange(metrics.LEVELS) / (metrics.LEVELS - 1)
    truth = np.concatenate([np.ones(metrics.LEVELS), np.zeros(metrics.LEVELS)])
    arguments = (truth, np.tile(levels, 2), np.concatenate(h))
    return float(loss(*(tf.constant(values, tf.float64) for values in arguments)))


class Evaluation:
    """Scores of the model and of all it is compared with, in the FOV and on the full image."""

    def __init__(self, rules: Rules) -> None:
        """Nothing added yet."""
        self.rules = rules
        self.rows: list[dict] = []
        self._pooled = defaultdict(lambda: metrics.EMPTY)  # by data set, observer and region
        self._doubts = doubt.Tally()

    def add(
        self,
        sample: samples.Sample,
        levels: np.ndarray,
        filtered: Mapping[str, ProbabilityMap],
        doubts: np.ndarray | None = None,
    ) -> None:
        """Score the model's map `levels` (H, W) uint16, those of filters by name, and the second observer if any.

        The model is scored at its threshold, and as `model_at_half` at 0.5. Structure, distances and calibration
        are of the FOV alone. `doubts` (H, W) in [0, 1] are the model's, None where it was shown no flips.
        """
        truth, fov, human = samples.truth(sample), samples.fov(sample), samples.second_observer(sample)
        maps = {"model": ProbabilityMap(levels, self.rules.threshold), **filtered}
        drawn = {observer: map_.vessels() for observer, map_ in maps.items()}
        drawn["model_at_half"] = ProbabilityMap(levels, HALF).vessels()
        if human is not None:
            drawn["second_observer"] = human
        self._doubts.add(sample.dataset, doubts, drawn["model"] != truth, fov)
        described = structure.describe(truth, fov, self.rules.widths)
        for observer in (name for name in reported.OBSERVERS if name in drawn):
            for region, pixels in zip(REGIONS, (fov, np.ones_like(fov)), strict=True):
                c = counts.count(truth, drawn[observer], pixels)
                scores = counts.scores(c)
                if observer in maps:
                    h = metrics.histogram(maps[observer].levels, truth, pixels)
                    self._pooled[sample.dataset, observer, region] += h
                    scores |= self._of_histogram(h, observer, region)
                if region == "fov":
                    other = structure.describe(drawn[observer], fov, self.rules.widths)
                    scores |= structure.scores(described, other)
                place = (sample.dataset, sample.id, sample.group, observer, region)
                self.rows.append(dict(zip(PLACE, place, strict=True)) | c._asdict() | scores)

    def _of_histogram(self, h: metrics.Histogram, observer: str, region: str) -> dict[str, float]:
        """The scores that need no threshold; a filter's answer is no probability, and has no loss."""
        scores = {"auc_roc": metrics.auc_roc(h), "auc_pr": metrics.auc_pr(h)}
        if observer == "model":
            scores["loss"] = loss_of(h, self.rules.loss)
            if region == "fov":
                scores |= {"brier": metrics.brier(h), "calibration_error": metrics.calibration_error(h)}
        return scores

    def summary(self) -> list[dict]:
        """A row for each data set, observer, region and score: pooled over pixels, and mean over images with interval.

        `pooled` is None where pooling means nothing (structure, distances).
        """
        result = []
        for (dataset, observer, region), rows in self._by_place():
            pooled = counts.scores(counts.add([Counts(*(row[name] for name in Counts._fields)) for row in rows]))
            if (dataset, observer, region) in self._pooled:
                pooled |= self._of_histogram(self._pooled[dataset, observer, region], observer, region)
            groups = np.array([row["group"] for row in rows])
            for name in (name for name in reported.SCORES if name in rows[0]):
                values = np.array([row[name] for row in rows], float)
                interval = intervals.of_mean(values, groups, self.rules.draws, self.rules.seed)
                interval = interval.within(*reported.SCORES[name].limits)
                place = {"dataset": dataset, "observer": observer, "region": region, "score": name}
                result.append(place | {"pooled": pooled.get(name)} | interval._asdict())
        return result

    def differences(self) -> list[dict]:
        """A row for each data set, other observer, region and score: the model minus that, image by image."""
        by_place = dict(self._by_place())
        result = []
        for (dataset, observer, region), rows in by_place.items():
            if observer == "model":
                continue
            by_id = {row["id"]: row for row in by_place[dataset, "model", region]}
            model = [by_id[row["id"]] for row in rows]  # another observer may have drawn only some images
            for name in (name for name in reported.SCORES if name in model[0] and name in rows[0]):
                difference = intervals.paired(
                    np.array([row[name] for row in model], float),
                    np.array([row[name] for row in rows], float),
                    np.array([row["group"] for row in rows]),
                    reported.SCORES[name].lower,
                    self.rules.draws,
                    self.rules.seed,
                )
                place = {"dataset": dataset, "observer": observer, "region": region, "score": name}
                result.append(place | difference._asdict())
        return result

    def _by_place(self) -> Iterator[tuple[tuple[str, str, str], list[dict]]]:
        """The rows of each data set, observer and region, in a fixed order."""
        found = defaultdict(list)
        for row in self.rows:
            found[row["dataset"], row["observer"], row["region"]].append(row)
        order = list(reported.OBSERVERS)
        yield from sorted(found.items(), key=lambda item: (item[0][0], order.index(item[0][1]), item[0][2]))

    def scores(self, summary: list[dict]) -> dict:
        """What scores.json holds, from `summary()`: threshold, then data set -> region -> score, others below them."""
        images = {place: len(rows) for place, rows in self._by_place()}
        result: dict = {"threshold": self.rules.threshold}
        for row in summary:
            dataset, observer, region, name = (row[key] for key in ("dataset", "observer", "region", "score"))
            of_set = result.setdefault(dataset, {})
            of_observer = of_set if observer == "model" else of_set.setdefault(observer, {})
            of_observer["images"] = images[dataset, observer, region]
            of_region = of_observer.setdefault(region, {})
            of_region |= {} if row["pooled"] is None else {name: row["pooled"]}
            of_region |= {f"mean_{name}": row["mean"], f"sd_{name}": row["sd"]}
            of_region |= {f"n_{name}": row["images"]} if row["images"] < of_observer["images"] else {}
        return result

    def write(self, out: Path) -> None:
        """Write scores.json and the tables per_image, summary, differences, curves, reliability and doubt (.csv).

        They go to `out`. The last three are the model's, pooled over the FOV of each data set.
        """
        summary = self.summary()
        files.write_text(out / "scores.json", json.dumps(_rounded(self.scores(summary)), indent=2) + "\n")
        pooled = {place[0]: h for place, h in self._pooled.items() if place[1:] == ("model", "fov")}
        tables = {
            "per_image": self.rows,
            "summary": summary,
            "differences": self.differences(),
            "curves": [{"dataset": name} | row for name, h in pooled.items() for row in metrics.curve(h)],
            "reliability": [{"dataset": name} | row for name, h in pooled.items() for row in metrics.reliability(h)],
            "doubt": self._doubts.rows(),
        }
        for name, rows in tables.items():
            _write_rows(out / f"{name}.csv", rows)


def read_thresholds(path: Path) -> dict[str, float]:
    """The threshold of each filter, by its name; ValueError that begins with the path where it is no such file."""
    found = files.read_json(path)
    for name in found:
        if name not in reported.OBSERVERS:
            raise ValueError(f"{path}: expected thresholds of {', '.join(reported.OBSERVERS)}, got one of {name!r:.40}")
    return {name: files.share(value, f"{path}: {name}") for name, value in found.items()}


def write_validation(out: Path, scores: dict[str, float], threshold: float) -> None:
    """Write the threshold and the scores of the validation images at it, FOV, pooled, to validation.json in `out`.

    They are what settings are compared by: whoever compares by the scores of test images chooses on test images.
    """
    content = {"validation": {"threshold": threshold, **scores}}
    files.write_text(out / "validation.json", json.dumps(_rounded(content), indent=2) + "\n")


def _rounded(value: object) -> object:
    """Numbers with six digits, undefined ones as None, in nested dicts."""
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value


def _write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows under the columns that any of them has; an undefined or missing value is an empty cell."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    files.write_rows(path, [columns, *([_rounded(row.get(column)) for column in columns] for row in rows)])
