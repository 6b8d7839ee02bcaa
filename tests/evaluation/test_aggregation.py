import math

import numpy as np
import pytest

from src.evaluation import aggregation
from src.evaluation.aggregation import Bootstrap, Place
from src.evaluation.scoring import ImageScores
from src.metrics import bootstrap, confusion_matrix, metric_definitions
from src.metrics.confusion_matrix import Counts
from src.models import losses

LOSS = losses.get("bce", 0.25, 2.0, None, 0.7)
SETTINGS = Bootstrap(resamples=200, seed=1)
MODEL = Place("drive", "model", "fov")
COUNTS = [Counts(10, 2, 3, 50), Counts(8, 1, 4, 40), Counts(0, 0, 5, 30), Counts(7, 7, 1, 60)]


def image(number: int, place: Place = MODEL, **changed: float) -> ImageScores:
    counts = COUNTS[number % len(COUNTS)]
    scores = confusion_matrix.scores(counts) | {"cldice": 0.5 + number / 10} | changed
    return ImageScores(
        place.dataset, f"{number:02d}", f"patient-{number}", place.observer, place.region, counts, scores
    )


def summarised(images: list[ImageScores]) -> dict[tuple[Place, str], aggregation.ScoreSummary]:
    return {(row.place, row.score): row for row in aggregation.summarise(images, {}, LOSS, SETTINGS)}


def test_pooled_scores_are_those_of_all_pixels():
    expected = confusion_matrix.scores(confusion_matrix.sum_counts(COUNTS))
    found = summarised([image(number) for number in range(4)])
    assert {name: found[MODEL, name].pooled for name in expected} == pytest.approx(expected)


def test_structure_cannot_be_pooled():
    assert math.isnan(summarised([image(number) for number in range(4)])[MODEL, "cldice"].pooled)


def test_interval_is_that_of_the_bootstrap_over_patients():
    images = [image(number) for number in range(4)]
    values, groups = np.array([i.scores["f1"] for i in images]), np.array([i.group for i in images])
    expected = bootstrap.mean_interval(values, groups, *SETTINGS).clipped(0, 1)
    assert summarised(images)[MODEL, "f1"].interval == expected


def test_interval_is_clipped_to_the_range_of_the_score():
    images = [image(number, recall=1.0 if number == 0 else 0.999 - 0.3 * (number == 3)) for number in range(4)]
    assert summarised(images)[MODEL, "recall"].interval.high == 1.0


def test_difference_is_the_model_minus_the_other():
    second = MODEL._replace(observer="second_observer")
    images = [image(number, mcc=0.7 + number / 100) for number in range(4)]
    images += [image(number, second, mcc=0.72) for number in range(4)]
    rows = {(row.place, row.score): row.difference for row in aggregation.differences(images, SETTINGS)}
    assert {place for place, _ in rows} == {second}
    found = rows[second, "mcc"]
    assert found.mean == pytest.approx(-0.005)
    assert (found.better, found.worse) == (1, 2)


def test_observer_of_some_images_is_paired_with_the_model_on_these():
    second = MODEL._replace(observer="second_observer")
    images = [image(number, f1=number / 10) for number in range(6)]
    images += [image(number, second, f1=0.1) for number in (1, 3, 4, 5)]
    rows = {(row.place, row.score): row.difference for row in aggregation.differences(images, SETTINGS)}
    assert rows[second, "f1"].mean == pytest.approx(np.mean([0.1, 0.3, 0.4, 0.5]) - 0.1)
    assert rows[second, "f1"].images == 4


def test_places_are_ordered_by_data_set_observer_and_region():
    places = [Place("hrf", "model", "fov"), Place("drive", "sato", "fov"), Place("drive", "model", "full_image"), MODEL]
    found = list(aggregation.group_by_place([image(1, place) for place in places]))
    assert found == [MODEL, Place("drive", "model", "full_image"), Place("drive", "sato", "fov"), places[0]]


def test_headline_scores_are_pooled_but_for_means():
    extra = dict.fromkeys(("auc_roc", "auc_pr", "loss", "recall_thin"), 0.6)
    images = [image(number, **extra) for number in range(4)]
    summary = aggregation.summarise(images, {}, LOSS, SETTINGS)
    found = aggregation.headline_scores(summary)
    assert list(found["drive"]) == list(metric_definitions.HEADLINE_SCORES)
    by_score = {row.score: row for row in summary}
    assert found["drive"]["f1"] == by_score["f1"].pooled
    assert found["drive"]["mean_cldice"] == by_score["cldice"].interval.mean


def test_second_observer_has_one_headline_score():
    extra = dict.fromkeys(("auc_roc", "auc_pr", "loss", "recall_thin"), 0.6)
    images = [image(number, **extra) for number in range(4)]
    images += [image(number, Place("drive", "second_observer", "fov")) for number in range(3)]
    found = aggregation.headline_scores(aggregation.summarise(images, {}, LOSS, SETTINGS))
    assert list(found["drive"])[-1] == "second_observer_f1"
    assert found["drive"]["second_observer_f1"] == pytest.approx(
        confusion_matrix.dice(confusion_matrix.sum_counts(COUNTS[:3]))
    )
