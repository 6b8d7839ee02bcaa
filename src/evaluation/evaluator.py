"""Evaluation of a run on its test sets: from probability maps to the tables in `metrics/`."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.common import atomic_io
from src.data import samples
from src.evaluation import aggregation
from src.evaluation.aggregation import Bootstrap, Place, ScoreDifference, ScoreSummary
from src.evaluation.scoring import ImageScores, ProbabilityMap, threshold_free_scores
from src.metrics import (
    confusion_matrix,
    error_by_uncertainty,
    metric_definitions,
    probability_metrics,
    structural_metrics,
    vessel_geometry,
)
from src.metrics.probability_metrics import Histogram
from src.models.losses import Loss

HALF = 0.5
DIGITS = 6  # of the tables


class ScoringRules(NamedTuple):
    """How to score; `width_limits`, `bootstrap_resamples` and `seed` as in section `evaluate` of params.yaml.

    `threshold` and `loss` are the model's.
    """

    threshold: float
    loss: Loss
    width_limits: tuple[float, float]
    bootstrap_resamples: int
    seed: int


class Evaluator:
    """Collects the scores of the model and of the observers it is compared with, in the FOV and on the full image."""

    def __init__(self, rules: ScoringRules) -> None:
        """Start without an image."""
        self.rules = rules
        self.scored: list[ImageScores] = []
        self._pooled: dict[Place, Histogram] = {}
        self._uncertainties = error_by_uncertainty.UncertaintyHistogram()

    def add(
        self,
        sample: samples.Sample,
        levels: np.ndarray,
        filtered: Mapping[str, ProbabilityMap],
        uncertainty: np.ndarray | None = None,
    ) -> None:
        """Score all observers on one image.

        The model is scored at its threshold, and as `model_at_half` at 0.5. Structure, distances and calibration are
        of the FOV alone.

        Args:
            sample: the image, with its second observer if any.
            levels: probability map of the model, (H, W) uint16.
            filtered: maps of the filters, by name.
            uncertainty: of the model, (H, W) in [0, 1]; None without test-time augmentation.
        """
        truth, fov = samples.truth(sample), samples.fov(sample)
        maps = {"model": ProbabilityMap(levels, self.rules.threshold), **filtered}
        predicted = {name: found.vessels() for name, found in maps.items()}
        predicted["model_at_half"] = ProbabilityMap(levels, HALF).vessels()
        second = samples.second_observer(sample)
        if second is not None:
            predicted["second_observer"] = second
        self._uncertainties.add(sample.dataset, uncertainty, predicted["model"] != truth, fov)
        geometry = vessel_geometry.measure_geometry(truth, fov, self.rules.width_limits)
        for observer in (name for name in metric_definitions.OBSERVERS if name in predicted):
            other = vessel_geometry.measure_geometry(predicted[observer], fov, self.rules.width_limits)
            structural = structural_metrics.structural_scores(geometry, other)
            for region, pixels, further in (("fov", fov, structural), ("full_image", np.ones_like(fov), {})):
                counts = confusion_matrix.count(truth, predicted[observer], pixels)
                scores = confusion_matrix.scores(counts)
                if observer in maps:
                    h = probability_metrics.histogram(maps[observer].levels, truth, pixels)
                    self._pool(Place(sample.dataset, observer, region), h)
                    scores |= threshold_free_scores(h, observer, region, self.rules.loss)
                place = sample.dataset, sample.id, sample.group, observer, region
                self.scored.append(ImageScores(*place, counts, scores | further))

    def summary(self) -> list[ScoreSummary]:
        """Summarise every score of each test set, observer and region."""
        return aggregation.summarise(self.scored, self._pooled, self.rules.loss, self._bootstrap)

    def differences(self) -> list[ScoreDifference]:
        """Compare the model with every other observer on the same images."""
        return aggregation.differences(self.scored, self._bootstrap)

    def write(self, out: Path) -> None:
        """Write scores.json and the tables of RESULT_TABLES that stage evaluate makes, to folder `out`.

        Curves, reliability and uncertainty are the model's, pooled over the FOV of each test set.
        """
        summary = self.summary()
        write_json(out / "scores.json", aggregation.headline_scores(summary))
        _write_rows(out / "per_image.csv", [image.as_row() for image in self.scored])
        _write_rows(out / "summary.csv", [row.as_row() for row in summary])
        _write_rows(out / "differences.csv", [row.as_row() for row in self.differences()])
        datasets = dict.fromkeys(image.dataset for image in self.scored)
        model = {dataset: self._pooled[Place(dataset, "model", "fov")] for dataset in datasets}
        for name, rows_of in (
            ("curves", probability_metrics.curve),
            ("reliability", probability_metrics.reliability_curve),
        ):
            _write_rows(
                out / f"{name}.csv", [{"dataset": key, **row} for key, h in model.items() for row in rows_of(h)]
            )
        _write_rows(out / "uncertainty.csv", self._uncertainties.rows())

    @property
    def _bootstrap(self) -> Bootstrap:
        return Bootstrap(self.rules.bootstrap_resamples, self.rules.seed)

    def _pool(self, place: Place, h: Histogram) -> None:
        self._pooled[place] = self._pooled[place] + h if place in self._pooled else h


def read_thresholds(path: Path) -> dict[str, float]:
    """Read the threshold of each filter, by its name, from the file thresholds.json of stage baselines.

    Raises:
        ValueError: it is no such file; the message begins with the path.
    """
    content = atomic_io.read_json(path)
    for name in content:
        if name not in metric_definitions.FILTERS:
            known = ", ".join(metric_definitions.FILTERS)
            raise ValueError(f"{path}: expected thresholds of {known}, got one of {name!r:.40}")
    return {name: atomic_io.parse_fraction(value, f"{path}: {name}") for name, value in content.items()}


def choose_threshold(validation: Iterable[Histogram], given: float | None, hysteresis_threshold: float | None) -> float:
    """Return the threshold that is given, or the best one on the validation images, a histogram for each data set.

    Raises:
        ValueError: it is not below `hysteresis_threshold`, which then would have no effect.
    """
    threshold = probability_metrics.best_threshold(*validation) if given is None else given
    if hysteresis_threshold is not None and threshold >= hysteresis_threshold:
        expected = f"more than the threshold ({threshold:.4f})"
        raise ValueError(f"evaluate.hysteresis_threshold: expected {expected}, got {hysteresis_threshold}")
    return threshold


def write_validation(out: Path, h: Histogram, threshold: float) -> None:
    """Write validation.json to `out`: the threshold, and VALIDATION_SCORES of the validation images at it.

    They are the scores to compare settings by: whoever compares by scores of test images chooses on test images.
    """
    scores = probability_metrics.scores_at(h, threshold)
    named = {name: scores[name] for name in metric_definitions.VALIDATION_SCORES}
    write_json(out / "validation.json", {"validation": {"threshold": threshold, **named}})


def write_json(path: Path, groups: Mapping[str, Mapping[str, float]]) -> None:
    """Write groups of scores with six digits; undefined ones are null."""
    content = {group: {name: _rounded(value) for name, value in scores.items()} for group, scores in groups.items()}
    atomic_io.write_text(path, json.dumps(content, indent=2) + "\n")


def _write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """Write rows under the columns that any of them has; an undefined or missing value is an empty cell."""
    columns = list(dict.fromkeys(column for row in rows for column in row))
    cells: Iterable[list[object]] = ([_rounded(row.get(column)) for column in columns] for row in rows)
    atomic_io.write_rows(path, [columns, *cells])


def _rounded(value: object) -> object:
    """Round a float to DIGITS, an undefined one to None."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    return value
