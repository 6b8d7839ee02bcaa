import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from src.reporting import example_figures, figure_style, overlays
from tests.reporting.example_run import per_image, png, predicted_image


@pytest.mark.parametrize(
    ("f1", "expected"),
    [
        ([0.7, 0.9, 0.8], {"best": "02", "median": "03", "worst": "01"}),
        ([0.7, 0.9, 0.8, 0.6], {"best": "02", "median": "03", "worst": "04"}),
        ([0.7, np.nan], {"best": "01", "median": "01", "worst": "01"}),
        ([0.7, 0.7, 0.7], {"best": "01", "median": "02", "worst": "03"}),
        ([np.nan], {}),
    ],
)
def test_best_median_and_worst_are_by_f1_then_id(f1, expected):
    assert example_figures.best_median_worst(per_image(f1), "drive") == expected


def test_title_tells_rank_and_both_observers():
    table = pd.concat([per_image([0.9, np.nan]), per_image([0.6], observer="second_observer")])
    assert example_figures.example_title(table, "drive", "best", "01") == (
        "drive 01: best of 1 test images, F1 0.900 in the field of view (second observer 0.600)"
    )
    assert "second observer" not in example_figures.example_title(table, "drive", "best", "02")


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(540, 540, 160), (500, 541, 160), (1080, 900, 320), (2300, 3300, 978), (60, 80, 24), (1, 1, 1), (0, 0, 1)],
)
def test_detail_is_a_fraction_of_the_width_of_the_fov(height, width, side):
    fov = np.zeros((2500, 3500), bool)
    fov[100 : 100 + height, 50 : 50 + width] = True
    assert example_figures.detail_side(fov, 160) == side


def test_detail_shows_the_same_place_of_a_larger_image():
    small = predicted_image(270, 360)
    large = overlays.PredictedImage(*(array.repeat(3, axis=0).repeat(3, axis=1) for array in small))
    frames = [example_figures.example_figure(image, 162, "drive 01").axes[0].patches[0] for image in (small, large)]
    assert (frames[0].get_width(), frames[0].get_height()) == (108, 108)
    one, three = (np.array([*frame.get_xy(), frame.get_width(), frame.get_height()]) for frame in frames)
    assert three.tolist() == (3 * one).tolist()


def test_worst_detail_holds_the_most_errors():
    errors = np.zeros((50, 70), bool)
    errors[30:40, 50:60] = True
    errors[5:10, 5:10] = True
    rows, columns = example_figures.worst_detail(errors, 12)
    assert errors[rows, columns].sum() == 100
    assert (rows.stop - rows.start, columns.stop - columns.start) == (12, 12)


def test_worst_detail_without_errors_is_the_first_and_no_larger_than_the_image():
    assert example_figures.worst_detail(np.zeros((5, 30), bool), 10) == (slice(0, 5), slice(0, 10))


@pytest.mark.parametrize("shape", [(60, 80), (20, 300), (300, 40), (8, 8)])
def test_example_shows_four_panels_and_their_details(shape):
    figure = example_figures.example_figure(predicted_image(*shape), detail_size=160, title="drive 01")
    assert png(figure)
    assert [axes.get_title() for axes in figure.axes[:4]] == list(example_figures.PANELS)
    assert len(figure.axes) == 8
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:3] == ["true positives", "false negatives", "false positives"]


def test_large_image_is_shrunk_for_drawing():
    figure = example_figures.example_figure(predicted_image(700, 1050), detail_size=160, title="hrf 01")
    assert figure.axes[0].images[0].get_array().shape == (320, 480, 3)


def test_example_has_the_same_bytes_whatever_the_users_settings(tmp_path):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        figure_style.save(example_figures.example_figure(predicted_image(), 160, "drive 01"), tmp_path / "one.png", 40)
    figure_style.save(example_figures.example_figure(predicted_image(), 160, "drive 01"), tmp_path / "two.png", 40)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
