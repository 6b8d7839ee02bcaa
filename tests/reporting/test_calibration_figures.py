import numpy as np

from src.reporting import calibration_figures
from tests.reporting.example_run import NAN, bins, observer_scores, png, uncertainty


def legend(axes) -> list[str]:
    return [text.get_text() for text in axes.get_legend().get_texts()]


def test_reliability_shows_fraction_of_vessel_calibration_error_and_number_of_pixels():
    figure = calibration_figures.reliability({"drive": bins()}, {"drive": observer_scores()})
    line = figure.axes[0].lines[1]
    np.testing.assert_array_equal(line.get_xydata()[[0, 2]], [[0.1, 0.2], [0.9, 0.8]])
    assert legend(figure.axes[0]) == ["perfect calibration", "model, ECE 0.020, Brier 0.030"]
    (below,) = figure.axes[0].child_axes
    assert [bar.get_height() for bar in below.patches] == [90, 0, 10]


def test_undefined_reliability_can_be_drawn():
    undefined = {"drive": {"model": {"calibration_error": NAN, "brier": NAN}}}
    empty = bins().assign(pixels=0, mean_probability=NAN, vessel_fraction=NAN)
    figure = calibration_figures.reliability({"drive": empty}, undefined)
    assert png(figure)
    assert legend(figure.axes[0])[1] == "model, ECE -, Brier -"


def test_error_by_uncertainty_shows_the_error_rate_of_each_class():
    other = uncertainty(error_rate=[0.1, 0.2, NAN])
    (axes,) = calibration_figures.error_by_uncertainty({"drive": uncertainty(), "chase_db1": other}).axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.02, 0.11, 0.4])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [0.1, 0.2, NAN])
    assert legend(axes) == ["drive", "chase_db1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.05", "0.1", "1"]


def test_unknown_uncertainty_can_be_drawn():
    figure = calibration_figures.error_by_uncertainty({"drive": uncertainty(pixels=0, error_rate=NAN)})
    assert png(figure)
    said = [text.get_text() for text in figure.axes[0].texts]
    assert said == ["predicted without test-time augmentation: uncertainty unknown"]
