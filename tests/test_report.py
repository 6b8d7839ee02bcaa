import re
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from src import audit, doubt, files, provenance, report, reported, structure
from src.params import load_params

PARAMS = load_params()
OBSERVERS = ("model", "model_at_half", "second_observer", "sato")
NONE = float("nan")
CAPTION = re.compile(r"^\*`.*\*$", re.MULTILINE)


def summary(dataset="drive", observers=OBSERVERS, **changes):
    """summary.csv of one data set with three scores; `changes` replaces columns of the model's clDice."""
    scores = ("accuracy", "f1", "cldice")
    rows = [
        {"dataset": dataset, "observer": observer, "region": region, "score": score,
         "pooled": NONE if score == "cldice" else 0.9, "mean": 0.8, "sd": 0.1, "low": 0.75, "high": 0.85,
         "images": 4, "groups": 3}
        | (changes if (observer, score) == ("model", "cldice") else {})
        for observer, region, score in product(observers, ("fov", "full_image"), scores)
    ]  # fmt: skip
    rows.append(rows[0] | {"region": "full_image", "score": "loss", "pooled": 0.3333})
    return pd.DataFrame(rows)


def differences(dataset="drive", observers=OBSERVERS[1:], **changes):
    """differences.csv of one data set, the model's F1 minus that of each other."""
    row = {"dataset": dataset, "region": "fov", "score": "f1", "mean": 0.02, "low": -0.01, "high": 0.05, "p": 0.000001,
           "won": 3, "lost": 1, "images": 4, "groups": 3} | changes  # fmt: skip
    return pd.DataFrame([row | {"observer": observer} for observer in observers])


def scores(**observers_of):
    """scores.json; the number of images of each observer by data set."""
    return {"threshold": 0.41} | {
        dataset: {"images": images.pop("model")} | {name: {"images": count} for name, count in images.items()}
        for dataset, images in observers_of.items()
    }


def audited():
    """audit.csv of a train and a test set."""
    rows = [("train", "drive", 3, 3, 0, "4x4", "5x5", 0.1, 0.05, 0.15, 0.7, 0.6, 0.8),
            ("test", "drive", 4, 3, 4, "4x4", "5x5", 0.123, 0.05, 0.15, 0.7, 0.6, 0.8)]  # fmt: skip
    return pd.DataFrame(rows, columns=audit.COLUMNS)


def doubted(dataset="drive"):
    """doubt.csv of one data set."""
    rows = [(dataset, 0.05, 800, 16, 0.02), (dataset, 0.1, 100, 11, 0.11), (dataset, 1.0, 100, 40, 0.4)]
    return pd.DataFrame(rows, columns=["dataset", "doubt_up_to", "pixels", "wrong", "wrong_share"])


def results(**changes):
    """A finished run on one data set with second observer and one filter."""
    given = {
        "scores": scores(drive=dict.fromkeys(OBSERVERS, 4)),
        "summary": summary(),
        "doubt": doubted(),
        "differences": differences(),
        "audit": audited(),
        "params": PARAMS.model_dump(),
        "versions": {"python": "3.11.0"},
        "hashes": {"metrics/scores.json": "a1b2"},
    }
    return report.Results(**given | changes)


def line(text: str, start: str, after: str = "") -> str:
    """The first row of a table that starts so, after a heading."""
    return next(row for row in text[text.index(after) :].splitlines() if row.startswith(f"| {start} |"))


def headline(text: str) -> list[str]:
    return [part for part in text.split("\n\n") if part.startswith("On ")]


def test_headline_says_score_interval_second_observer_and_difference():
    (said,) = headline(report.write(results()))
    assert "On 4 test images of 3 people of `drive`" in said
    assert "mean F1 of 0.8000 (95 % interval 0.7500 to 0.8500)" in said
    assert "second observer reaches 0.8000 (95 % interval 0.7500 to 0.8500)" in said
    assert "+0.0200 (95 % interval -0.0100 to +0.0500), 3 images won, 1 lost" in said
    assert "Classical filters reach 0.8000 (Sato filter)" in said


@pytest.mark.parametrize(("threshold", "rule"), [(None, "best pooled F1 on the validation images"), (0.41, "given")])
def test_report_says_how_the_threshold_came_about(threshold, rule):
    params = PARAMS.model_dump()
    params["evaluate"]["threshold"] = threshold
    assert f"0.4100 ({rule})" in headline(report.write(results(params=params)))[0]


def test_pooled_scores_have_a_row_an_observer():
    text = report.write(results())
    for observer in OBSERVERS:
        row = line(text, reported.OBSERVERS[observer], "### Field of view, pooled")
        assert row.endswith("| 0.9000 | - | - | - | 0.9000 | - | - | - |")


def test_loss_of_the_full_image_holds_for_every_threshold_of_the_model_alone():
    text = report.write(results())
    cells = {name: line(text, reported.OBSERVERS[name], "### Full image").split(" | ")[4] for name in OBSERVERS}
    assert cells == {"model": "0.3333", "model_at_half": "0.3333", "second_observer": "-", "sato": "-"}


def test_means_have_deviation_and_interval_and_mark_lower_as_better():
    text = report.write(results())
    assert line(text, "clDice").count("| 0.8000 ± 0.1000<br>0.7500 to 0.8500 ") == len(OBSERVERS)
    assert line(text, "Brier score ↓") == "| Brier score ↓ | - | - | - | - |"


def test_mean_over_fewer_images_says_over_how_many():
    text = report.write(results(summary=summary(images=2)))
    assert line(text, "clDice").count("(n = 2)") == 1


def test_what_is_undefined_is_a_dash():
    nothing = dict.fromkeys(("mean", "sd", "low", "high"), NONE) | {"images": 0, "groups": 0}
    none = dict.fromkeys(("low", "high", "p"), NONE)
    text = report.write(results(summary=summary(**nothing), differences=differences(**none)))
    assert line(text, "clDice").startswith("| clDice | - | 0.8000")
    assert line(text, "second observer", "paired") == "| second observer | F1 (Dice) | +0.0200 | - | - | 3 | 1 | 4 |"
    assert "nan" not in text
    assert "by image: +0.0200 (no interval), 3 images won, 1 lost" in text


def test_differences_are_of_each_other_observer_with_p_that_is_never_zero():
    text = report.write(results())
    rows = [line(text, reported.OBSERVERS[name], "paired") for name in OBSERVERS[1:]]
    assert all(row.endswith("| F1 (Dice) | +0.0200 | -0.0100 to +0.0500 | <0.0001 | 3 | 1 | 4 |") for row in rows)


def test_two_test_sets_have_a_headline_and_a_chapter_each():
    tables = {name: pd.concat([make(), make("stare")]) for name, make in
              (("summary", summary), ("differences", differences))}  # fmt: skip
    of_both = scores(drive=dict.fromkeys(OBSERVERS, 4), stare=dict.fromkeys(OBSERVERS, 4))
    text = report.write(results(scores=of_both, **tables))
    assert len(headline(text)) == 2
    assert text.count("### Field of view, pooled") == 2
    assert "*`drive` 4 test images of 3 people, `stare` 4 test images of 3 people: " in text


def test_second_observer_of_some_images_is_said_to_be():
    counts = {"model": 4, "model_at_half": 4, "second_observer": 2, "sato": 4}
    assert "| second observer (2 of 4 images) |" in report.write(results(scores=scores(drive=counts)))


def test_set_without_second_observer_and_filters_does_without():
    alone = OBSERVERS[:2]
    text = report.write(
        results(
            scores=scores(drive=dict.fromkeys(alone, 4)),
            summary=summary(observers=alone),
            differences=differences(observers=alone[1:]),
        )
    )
    assert "No second observer has drawn these images." in text
    assert "| second observer" not in text
    assert "filters by" not in text
    assert "Classical filters" not in text


def test_every_caption_states_region_reduction_threshold_and_number_of_images():
    captions = CAPTION.findall(report.write(results()))
    assert len(captions) == 4 + len(report.FIGURES) - 1  # learning curves are not of the test set
    for caption in captions:
        assert re.search("field of view|full image", caption)
        assert re.search("pooled|mean", caption)
        assert re.search("hreshold", caption)
        assert "4 test images of 3 people" in caption


def test_data_figures_parameters_versions_and_files_are_there():
    text = report.write(results())
    assert "| test | `drive` | 4 | 3 | 4 | 4x4 | 5x5 | 12.3% (5.0% to 15.0%) | 70.0% (60.0% to 80.0%) |" in text
    assert all(f"](figures/{name}.png)" in text for name in report.FIGURES)
    assert all(f"\n{section}:\n" in text for section in PARAMS.model_dump())
    assert "| python | 3.11.0 |" in text
    assert "| `metrics/scores.json` | `a1b2` |" in text


def test_lengths_are_in_the_pixels_that_they_are_measured_in():
    text = report.write(results()).replace("\n", " ")
    assert f"field of view {structure.REFERENCE_DIAMETER} pixels wide" in text
    assert f"thin below {PARAMS.evaluate.widths[0]} and thick from {PARAMS.evaluate.widths[1]}" in text


def test_report_says_whether_errors_are_more_frequent_where_the_model_doubts():
    told = "above 0.1 on 10.0% of the field of view; 40.0% of these pixels are wrong, 3.0% of the others."
    assert f"`drive`: the doubt is {told}" in report.write(results())
    assert "the doubt is above" not in report.write(results(doubt=doubted().assign(pixels=0, wrong=0)))


def test_doubtful_begins_where_a_class_ends():
    assert report.DOUBTFUL in doubt.UP_TO


def test_every_score_and_observer_that_is_shown_is_reported():
    assert {*report.POOLED, *report.ORIGINAL, *report.DIFFERENCES, *report.MEANS} <= set(reported.SCORES)
    assert set(report.NOT_FILTERS) <= set(reported.OBSERVERS)


def write_run(folder: Path) -> tuple[Path, Path]:
    """The files that the stage reads."""
    metrics, model = folder / "metrics", folder / "data" / "model" / "model.h5"
    for name in provenance.TABLES:
        files.write_text(metrics / name, "a,b\n")
    of_drive = '{"threshold": 0.41, "drive": {"images": 4, "second_observer": {"images": 1}}}'
    files.write_text(metrics / "scores.json", of_drive)
    summary(observers=("model", "second_observer")).to_csv(metrics / "summary.csv", index=False)
    differences(observers=("second_observer",)).to_csv(metrics / "differences.csv", index=False)
    audited().to_csv(metrics / "audit.csv", index=False)
    doubted().to_csv(metrics / "doubt.csv", index=False)
    files.write_text(model, "weights")
    return metrics, model
