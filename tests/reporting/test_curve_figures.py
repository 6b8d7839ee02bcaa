import pytest

from src.metrics import metric_definitions
from src.reporting import curve_figures
from tests.reporting.example_run import NAN, curve, history, observer_scores, png

BOTH = pytest.mark.parametrize("draw", [curve_figures.roc, curve_figures.precision_recall])


def legend(figure) -> list[str]:
    """All entries of the legends of all panels."""
    return [text.get_text() for axes in figure.axes for text in axes.get_legend().get_texts()]


def test_learning_curves_have_eight_panels_with_training_and_validation():
    figure = curve_figures.learning_curves(history())
    assert [axes.get_title() for axes in figure.axes] == list(metric_definitions.HISTORY.values())
    assert all([line.get_label() for line in axes.lines] == ["training", "validation"] for axes in figure.axes)


def test_learning_curves_without_validation_have_one_line():
    figure = curve_figures.learning_curves(history(validation=False))
    assert all([line.get_label() for line in axes.lines] == ["training"] for axes in figure.axes)


@BOTH
def test_curves_mark_operating_point_and_second_observer(draw):
    model, point, second_observer = legend(draw({"drive": curve()}, {"drive": observer_scores()}, 0.4))
    assert "AUC 0.9" in model
    assert "threshold 0.400" in point
    assert "second observer" in second_observer


@BOTH
def test_curves_do_without_other_observers(draw):
    assert len(legend(draw({"drive": curve()}, {"drive": observer_scores(others=())}, 0.4))) == 2


@BOTH
def test_curves_mark_every_filter_with_a_shape_of_its_own(draw):
    others = ("model_at_half", "frangi", "matched_filter", "sato")
    figure = draw({"drive": curve()}, {"drive": observer_scores(others)}, 0.4)
    names = [label.split(" (")[0] for label in legend(figure)[2:]]
    assert names == ["matched filter", "Frangi filter", "Sato filter"]
    shapes = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len(set(shapes)) == len(shapes) == 4


@BOTH
def test_curves_leave_out_undefined_points(draw):
    undefined = {name: dict.fromkeys(scores, NAN) for name, scores in observer_scores().items()}
    figure = draw({"drive": curve() * NAN}, {"drive": undefined}, 0.4)
    assert png(figure)
    assert legend(figure) == ["model, AUC -"]


def test_operating_point_lies_at_its_scores():
    axes = curve_figures.roc({"drive": curve()}, {"drive": observer_scores()}, 0.4).axes[0]
    point = next(line for line in axes.lines if line.get_marker() == "o")
    assert point.get_xydata()[0] == pytest.approx([0.03, 0.85])
