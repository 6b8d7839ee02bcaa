import matplotlib as mpl
import pytest

from src.metrics import metric_definitions
from src.reporting import curve_figures, figure_style
from tests.reporting.example_run import history


def test_saved_figure_has_the_same_bytes_whatever_the_users_settings(tmp_path):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        figure_style.save(curve_figures.learning_curves(history()), tmp_path / "one.png", 40)
    figure_style.save(curve_figures.learning_curves(history()), tmp_path / "new folder" / "two.png", 40)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder" / "two.png").read_bytes()
    assert b"atplotlib" not in (tmp_path / "one.png").read_bytes()


def test_every_observer_but_the_model_at_half_has_a_mark():
    assert {*figure_style.OBSERVER_MARKS, "model_at_half"} == set(metric_definitions.OBSERVERS)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_square_panels_are_as_many_as_asked_for(count):
    figure, panels = figure_style.square_panels(count)
    assert len(figure.axes) == len(panels) == count
