import numpy as np
import pandas as pd
import pytest

from src.reporting import score_figures
from tests.reporting.example_run import NAN, OBSERVERS, per_image, png, summary


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_intervals_have_a_dot_and_whiskers_for_each_observer_and_score():
    (axes,) = score_figures.score_intervals(summary(observers=("model", "sato"))).axes
    dots = [line for line in axes.lines if line.get_marker() in "ov"]
    assert [list(dot.get_xdata()) for dot in dots] == [[0.8] * len(score_figures.INTERVAL_SCORES)] * 2
    ends = [list(segment[:, 0]) for whiskers in axes.collections for segment in whiskers.get_segments()]
    assert ends == [[0.75, 0.85]] * (2 * len(score_figures.INTERVAL_SCORES))
    assert axes.get_title() == "drive: 4 images, 3 patients"


def test_intervals_of_two_test_sets_share_an_axis_and_one_legend():
    figure = score_figures.score_intervals(pd.concat([summary(), summary("stare", ("model",))]))
    assert [axes.get_title().split(":")[0] for axes in figure.axes] == ["drive", "stare"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "second observer", "Sato filter"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


@pytest.mark.parametrize("undefined", [("low", "high"), ("mean", "low", "high")])
def test_intervals_leave_out_what_is_undefined(undefined):
    figure = score_figures.score_intervals(summary(**dict.fromkeys(undefined, NAN)))
    assert png(figure)
    assert len([line for line in figure.axes[0].lines if line.get_marker() == "o"]) == 1


def test_confusion_matrix_pools_pixels_of_the_model_in_the_fov():
    table = pd.concat([per_image([0.8, 0.9]), per_image([0.1], observer="second_observer")])
    texts = [text.get_text() for text in score_figures.confusion_matrix(table, 0.4).axes[0].texts]
    assert "176 pixels\n88.0 % of all\n98.9 % of background" in texts
    assert "18 pixels\n9.0 % of all\n81.8 % of vessels" in texts


def test_confusion_matrix_without_a_vessel_is_undefined_not_zero():
    table = per_image([NAN]).assign(tp=0, fn=0)
    texts = [text.get_text() for text in score_figures.confusion_matrix(table, 0.4).axes[0].texts]
    assert sum("- % of vessels" in text for text in texts) == 2


def test_f1_bars_rise_and_carry_the_mean():
    table = pd.concat([per_image([0.9, 0.7, 0.8]), per_image([0.6, 0.5], observer="second_observer")])
    (axes,) = score_figures.f1_per_image(table).axes
    assert [bar.get_height() for bar in axes.patches] == [0.7, 0.8, 0.9]
    assert legend(axes) == ["model\nmean 0.800, n = 3", "second observer\nmean 0.550, n = 2"]


@pytest.mark.parametrize("f1", [[NAN], [0.5, NAN], list(np.linspace(0, 1, 200))])
def test_f1_bars_of_odd_test_sets_can_be_drawn(f1):
    table = per_image(f1)
    table["id"] = "an unusually long name of an image " + table["id"]
    assert png(score_figures.f1_per_image(table))


def test_every_observer_with_a_mark_is_shown():
    (axes,) = score_figures.score_intervals(summary(observers=OBSERVERS)).axes
    shapes = {line.get_marker() for line in axes.lines} - {"|", "None"}
    assert shapes == {"o", "D", "v"}
