"""Scores of a test set from those of its images: pooled over pixels, means with intervals, paired differences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from src.evaluation.scoring import ImageScores, threshold_free_scores
from src.metrics import bootstrap, confusion_matrix, metric_definitions
from src.metrics.bootstrap import Difference, Interval
from src.metrics.probability_metrics import Histogram
from src.models.losses import Loss


class Place(NamedTuple):
    """What scores are aggregated by."""

    dataset: str
    observer: str
    region: str


class Bootstrap(NamedTuple):
    """Number of resamples, and seed, of the intervals."""

    resamples: int
    seed: int


class ScoreSummary(NamedTuple):
    """A score of a test set: pooled over pixels (NaN where it cannot be), and mean over images with its interval."""

    place: Place
    score: str
    pooled: float
    interval: Interval

    def as_row(self) -> dict[str, object]:
        """Return the row of summary.csv, by column."""
        return {**self.place._asdict(), "score": self.score, "pooled": self.pooled, **self.interval._asdict()}


class ScoreDifference(NamedTuple):
    """The model minus another observer in a score, paired by image."""

    place: Place
    score: str
    difference: Difference

    def as_row(self) -> dict[str, object]:
        """Return the row of differences.csv, by column."""
        return {**self.place._asdict(), "score": self.score, **self.difference._asdict()}


def group_by_place(scored: Sequence[ImageScores]) -> dict[Place, list[ImageScores]]:
    """Group the scores of images by data set, observer and region, in the order of the tables."""
    groups: dict[Place, list[ImageScores]] = {}
    for image in scored:
        groups.setdefault(Place(image.dataset, image.observer, image.region), []).append(image)
    order = list(metric_definitions.OBSERVERS)
    places = sorted(groups, key=lambda place: (place.dataset, order.index(place.observer), place.region))
    return {place: groups[place] for place in places}


def summarise(
    scored: Sequence[ImageScores], pooled: Mapping[Place, Histogram], loss: Loss, settings: Bootstrap
) -> list[ScoreSummary]:
    """Summarise every score of each test set, observer and region.

    Args:
        scored: scores of the images.
        pooled: pixels of all images by probability level, of the observers that are probability maps.
        loss: of the model.
        settings: of the intervals.
    """
    result = []
    for place, images in group_by_place(scored).items():
        of_all = confusion_matrix.scores(confusion_matrix.sum_counts([image.counts for image in images]))
        if place in pooled:
            of_all |= threshold_free_scores(pooled[place], place.observer, place.region, loss)
        groups = np.array([image.group for image in images])
        for name in _scores_of(images):
            interval = bootstrap.mean_interval(_values(images, name), groups, *settings)
            interval = interval.clipped(*metric_definitions.SCORES[name].limits)
            result.append(ScoreSummary(place, name, of_all.get(name, float("nan")), interval))
    return result


def differences(scored: Sequence[ImageScores], settings: Bootstrap) -> list[ScoreDifference]:
    """Compare the model with every other observer, in each score that both have, on the images that both have."""
    groups = group_by_place(scored)
    result = []
    for place, others in groups.items():
        if place.observer == "model":
            continue
        by_id = {image.id: image for image in groups[place._replace(observer="model")]}
        model = [by_id[image.id] for image in others]
        patients = np.array([image.group for image in others])
        for name in _scores_of(others):
            lower = metric_definitions.SCORES[name].lower_is_better
            values = _values(model, name), _values(others, name)
            result.append(
                ScoreDifference(place, name, bootstrap.paired_difference(*values, patients, lower, *settings))
            )
    return result


def headline_scores(summary: Sequence[ScoreSummary]) -> dict[str, dict[str, float]]:
    """Select the scores of scores.json by test set: HEADLINE_SCORES of the model, F1 of the second observer."""
    result: dict[str, dict[str, float]] = {}
    for dataset in dict.fromkeys(row.place.dataset for row in summary):
        found = {row.score: row for row in summary if row.place == Place(dataset, "model", "fov")}
        result[dataset] = {
            name: found[name.removeprefix("mean_")].interval.mean if name.startswith("mean_") else found[name].pooled
            for name in metric_definitions.HEADLINE_SCORES
        }
        for row in summary:
            if (row.place, row.score) == (Place(dataset, "second_observer", "fov"), "f1"):
                result[dataset][metric_definitions.SECOND_OBSERVER_F1] = row.pooled
    return result


def _scores_of(images: Sequence[ImageScores]) -> Iterator[str]:
    """Yield the names of the scores that images of one observer and region have, in the order of SCORES."""
    return (name for name in metric_definitions.SCORES if name in images[0].scores)


def _values(images: Sequence[ImageScores], name: str) -> np.ndarray:
    return np.array([image.scores[name] for image in images], float)
