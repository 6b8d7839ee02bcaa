import re

import pandas as pd
import pytest

from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.metrics import error_by_uncertainty, metric_definitions
from src.reporting import figure_texts, markdown_report, report_tables
from tests.reporting.example_run import (
    NAN,
    OBSERVERS,
    PARAMS,
    audited,
    differences,
    results,
    summary,
    uncertainty,
)

CAPTION = re.compile(r"^\*.*\*$", re.MULTILINE)


def line(text: str, start: str, after: str = "") -> str:
    """The first row of a table that starts so, after a heading."""
    return next(row for row in text[text.index(after) :].splitlines() if row.startswith(f"| {start} |"))


def headline(text: str) -> list[str]:
    return [part for part in text.split("\n\n") if part.startswith("On ")]


def test_headline_has_scores_with_intervals_region_reduction_and_comparisons():
    text = markdown_report.render_markdown(results())
    (said,) = headline(text)
    assert text.split("\n\n")[1] == said
    assert "On 4 test images of 3 patients of `drive`" in said
    for score in ("F1", "AUC-PR", "clDice"):
        assert f"**{score}** 0.8000 (95 % interval 0.7500 to 0.8500)" in said
    rule = "best F1 on the validation images, mean over data sets"
    assert f"means over images in the field of view, at threshold 0.4100 ({rule})" in said
    assert "second observer reaches F1 0.8000 (95 % interval 0.7500 to 0.8500)" in said
    assert "+0.0200 (95 % interval -0.0100 to +0.0500), 3 images better, 1 worse." in said
    assert said.endswith("Classical filters reach F1 0.8000 (Sato filter).")


@pytest.mark.parametrize(
    ("threshold", "rule"), [(None, "best F1 on the validation images, mean over data sets"), (0.41, "given")]
)
def test_headline_states_how_the_threshold_was_chosen(threshold, rule):
    evaluate = PARAMS.evaluate.model_copy(update={"threshold": threshold})
    run = results(params=PARAMS.model_copy(update={"evaluate": evaluate}))
    assert f"0.4100 ({rule})" in markdown_report.headline(run, "drive")


def test_every_headline_score_is_named_and_separated():
    said = markdown_report.headline(results(), "drive")
    assert re.search(r"reaches \*\*F1\*\* [^*]*\), \*\*AUC-PR\*\* [^*]*\) and \*\*clDice\*\* [^*]*\): means", said)


def test_pooled_scores_have_a_row_per_observer():
    text = markdown_report.render_markdown(results())
    for observer in OBSERVERS:
        row = line(text, metric_definitions.OBSERVERS[observer], "### Field of view, pooled")
        areas = "0.9800 | 0.9000" if observer == "model" else "- | -"
        if observer != "sato":
            assert row.endswith(f"| 0.8000 | {areas} | - | 0.9000 | 0.7500 | 0.8500 | - |")


def test_loss_of_the_full_image_holds_for_every_threshold_of_the_model_alone():
    text = markdown_report.render_markdown(results())
    cells = {
        name: line(text, metric_definitions.OBSERVERS[name], "### Full image").split(" | ")[4] for name in OBSERVERS
    }
    assert cells == {"model": "0.3333", "model_at_half": "0.3333", "second_observer": "-", "sato": "-"}


def test_means_have_deviation_and_interval_and_mark_lower_as_better():
    text = markdown_report.render_markdown(results())
    cell = "0.8000 ± 0.1000<br>0.7500 to 0.8500"
    assert line(text, "clDice").count(f"| {cell} ") == len(OBSERVERS)
    assert line(text, "average surface distance ↓") == "| average surface distance ↓ | - | - | - | - |"


def test_mean_over_fewer_images_says_over_how_many():
    text = markdown_report.render_markdown(results(summary=summary(images=2)))
    assert line(text, "clDice").count("(n = 2)") == 1


def test_what_is_undefined_is_a_dash():
    nothing = dict.fromkeys(("mean", "sd", "low", "high"), NAN) | {"images": 0, "groups": 0}
    none = dict.fromkeys(("low", "high", "p"), NAN)
    text = markdown_report.render_markdown(results(summary=summary(**nothing), differences=differences(**none)))
    assert line(text, "clDice").startswith("| clDice | - | 0.8000")
    assert (
        line(text, "second observer", "### Field of view, paired")
        == "| second observer | F1 | +0.0200 | - | - | 3 / 1 / 4 |"
    )
    assert "nan" not in text
    assert "by image: +0.0200 (no interval), 3 images better, 1 worse" in text


def test_differences_are_of_each_other_observer_with_p_that_is_never_zero():
    text = markdown_report.render_markdown(results())
    rows = [line(text, metric_definitions.OBSERVERS[name], "### Field of view, paired") for name in OBSERVERS[1:]]
    assert all(row.endswith("| F1 | +0.0200 | -0.0100 to +0.0500 | <0.0001 | 3 / 1 / 4 |") for row in rows)


def test_two_test_sets_have_a_headline_and_a_chapter_each():
    tables = {name: pd.concat([make(), make("stare")]) for name, make in
              (("summary", summary), ("differences", differences))}  # fmt: skip
    text = markdown_report.render_markdown(results(**tables))
    assert len(headline(text)) == 2
    assert text.count("### Field of view, pooled") == 2
    assert " `drive` 4 test images of 3 patients, `stare` 4 test images of 3 patients: " in text


def test_second_observer_of_some_images_is_said_to_be():
    text = markdown_report.render_markdown(results(summary=summary(image_counts={"second_observer": 2})))
    assert "| second observer (2 of 4 images) |" in text


def test_set_without_second_observer_and_filters_does_without():
    alone = OBSERVERS[:2]
    tables = {"summary": summary(observers=alone), "differences": differences(observers=alone[1:])}
    text = markdown_report.render_markdown(results(**tables))
    assert "These images have no annotation of a second observer." in text
    assert "| second observer" not in text
    assert "filters by" not in text
    assert "Classical filters" not in text


def test_every_caption_states_region_reduction_threshold_and_number_of_images():
    captions = CAPTION.findall(markdown_report.render_markdown(results()))
    assert len(captions) == 4 + len(figure_texts.FIGURES) + 1  # tables of the test set, figures, data
    of_test_set = [caption for caption in captions if "test images" in caption]
    assert len(of_test_set) == len(captions) - 2  # neither learning curves nor data
    for caption in of_test_set:
        assert re.search("field of view|full image", caption)
        assert re.search("pooled|mean", caption)
        assert re.search("hreshold", caption)
        assert "4 test images of 3 patients" in caption


def test_every_figure_says_what_to_look_for():
    text = markdown_report.render_markdown(results())
    for name, figure in figure_texts.FIGURES.items():
        assert f"![{figure.title}](figures/{name}.png)\n\n*{figure.look_for} " in text


def test_data_parameters_versions_and_files_are_there():
    text = markdown_report.render_markdown(results())
    row = "| test | `drive` | 4 | 3 | 4 | 4x4 to 5x5 | 0.123 (0.050 to 0.150) | 0.700 (0.600 to 0.800) |"
    assert row in text
    assert all(f"\n{section}:\n" in text for section in PARAMS.model_dump())
    assert "| python | 3.11.0 |" in text
    assert text.endswith("| `metrics/scores.json` | `a1b2` |\n")


def test_data_have_no_column_of_a_second_observer_that_nobody_has_and_one_size_where_all_are_alike():
    text = markdown_report.render_markdown(results(audit=audited(second_observers=0, largest="4x4")))
    assert "| images | patients | size in pixels |" in text
    assert "| test | `drive` | 4 | 3 | 4x4 | 0.123" in text


def test_lengths_are_in_the_pixels_that_they_are_measured_in():
    text = markdown_report.protocol(results()).replace("\n", " ")
    thin, thick = PARAMS.evaluate.width_limits
    assert f"field of view {REFERENCE_FOV_DIAMETER} pixels wide" in text
    assert f"thin below {thin}, thick from {thick}, and medium between" in text


def test_report_says_whether_errors_are_more_frequent_where_uncertainty_is_high():
    said = (
        "above 0.1 on 10.0 % of the field of view; 40.0 % of these pixels are classified wrongly, 3.0 % of the others."
    )
    assert f"`drive`: uncertainty is {said}" in markdown_report.render_markdown(results())
    low = uncertainty(pixels=[800, 100, 0], errors=[16, 11, 0])
    text = markdown_report.render_markdown(results(uncertainty=low))
    assert "above 0.1 on 0.0 % of the field of view; - of these pixels are classified wrongly, 3.0 % of" in text
    unknown = uncertainty(pixels=0, errors=0)
    assert "uncertainty is above" not in markdown_report.render_markdown(results(uncertainty=unknown))


def test_high_uncertainty_begins_where_a_class_ends():
    assert markdown_report.HIGH_UNCERTAINTY in error_by_uncertainty.BIN_ENDS


def test_every_score_and_observer_that_is_shown_is_reported():
    tables = report_tables
    shown = {*tables.POOLED_SCORES, *tables.FULL_IMAGE_SCORES, *tables.COMPARED_SCORES, *tables.MEAN_SCORES}
    assert shown <= set(metric_definitions.SCORES)
    assert set(markdown_report.HEADLINE_SCORES) <= shown
    assert set(markdown_report.NO_FILTERS) <= set(metric_definitions.OBSERVERS)


def test_paragraphs_are_one_blank_line_apart():
    assert "\n\n\n" not in markdown_report.render_markdown(results())
