import io
import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from src import plots, samples
from src.params import Plot
from stages import plot as stage

SCORES = {"accuracy": 0.95, "f1": 0.8, "precision": 0.75, "recall": 0.85, "specificity": 0.97, "mcc": 0.7}
UNDEFINED = dict.fromkeys((*SCORES, "auc_roc", "auc_pr"))


def history(epochs=3):
    """training.csv of a few epochs."""
    columns = [f"{subset}{score}" for subset in ("", "validation_") for score in plots.HISTORY]
    values = np.linspace(0.1, 0.9, epochs)
    return pd.DataFrame({"epoch": np.arange(1, epochs + 1), **dict.fromkeys(columns, values)})


def curve():
    """The rows of one data set in curves.csv, with four thresholds."""
    return pd.DataFrame(
        {
            "threshold": [0.1, 0.4, 0.6, 0.9],
            "recall": [1.0, 0.9, 0.7, 0.2],
            "precision": [0.1, 0.7, 0.8, 1.0],
            "false_positive_rate": [0.9, 0.1, 0.04, 0.0],
        }
    )


def scores(second_observer=True):
    """scores.json of one data set."""
    drive = {"images": 3, "fov": {**SCORES, "auc_roc": 0.98, "auc_pr": 0.9}}
    return {"threshold": 0.4, "drive": drive | ({"second_observer": {"fov": SCORES}} if second_observer else {})}


def per_image(f1, dataset="drive", observer="model"):
    """per_image.csv with one row an F1, ids 01, 02, ..."""
    rows = [
        {"dataset": dataset, "id": f"{i:02d}", "group": "g", "observer": observer, "region": region,
         "tp": 9, "fp": 1, "fn": 2, "tn": 88, "f1": value}
        for i, value in enumerate(f1, start=1)
        for region in ("fov", "full_image")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def example(height=60, width=80):
    """A cross of vessels of which the lower half is missed, and one false alarm."""
    truth = np.zeros((height, width), bool)
    truth[height // 2] = truth[:, width // 2] = True
    probability = truth * 0.9
    probability[height // 2 + 5 :] = 0.1
    probability[2, 3] = 0.8
    image = np.full((height, width, 3), (200, 90, 40), np.uint8)
    return plots.Example(image, truth, probability, probability > 0.5, np.ones((height, width), bool))


def labels(figure: Figure) -> list[str]:
    """All entries of all legends of the axes."""
    return [text.get_text() for axes in figure.axes if axes.get_legend() for text in axes.get_legend().get_texts()]


def draw(figure: Figure) -> bytes:
    """The PNG, as `save` writes it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=30, metadata={"Software": None})
    return buffer.getvalue()


def test_learning_curves_have_eight_panels_with_train_and_validation():
    figure = plots.learning_curves(history())
    assert [axes.get_title() for axes in figure.axes] == list(plots.HISTORY.values())
    assert all([line.get_label() for line in axes.lines] == ["train", "validation"] for axes in figure.axes)


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_mark_operating_point_and_second_observer(chart):
    model, point, human = labels(chart({"drive": curve()}, scores()))
    assert "AUC 0.9" in model
    assert "threshold 0.400" in point
    assert "second observer" in human


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_do_without_second_observer(chart):
    assert len(labels(chart({"drive": curve()}, scores(second_observer=False)))) == 2


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_leave_out_points_that_are_undefined(chart):
    nothing = {"threshold": 0.4, "drive": {"fov": UNDEFINED, "second_observer": {"fov": UNDEFINED}}}
    figure = chart({"drive": curve() * np.nan}, nothing)
    draw(figure)
    assert labels(figure) == ["model, AUC undefined"]


def test_operating_point_lies_at_its_scores():
    axes = plots.roc({"drive": curve()}, scores()).axes[0]
    point = next(line for line in axes.lines if line.get_marker() == "o")
    assert point.get_xydata()[0] == pytest.approx([1 - 0.97, 0.85])


def test_confusion_pools_pixels_of_the_model_in_the_fov():
    table = pd.concat([per_image([0.8, 0.9]), per_image([0.1], observer="second_observer")])
    texts = [text.get_text() for text in plots.confusion(table, 0.4).axes[0].texts]
    assert "176 pixels\n88.0 % of all\n98.9 % of background" in texts
    assert "18 pixels\n9.0 % of all\n81.8 % of vessels" in texts


def test_confusion_of_no_vessel_is_undefined_not_zero():
    table = per_image([np.nan]).assign(tp=0, fn=0)
    assert any("undefined of vessels" in text.get_text() for text in plots.confusion(table, 0.4).axes[0].texts)


def test_per_image_bars_rise_and_carry_the_mean():
    table = pd.concat([per_image([0.9, 0.7, 0.8]), per_image([0.6, 0.5], observer="second_observer")])
    figure = plots.per_image_f1(table)
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.7, 0.8, 0.9]
    assert labels(figure) == ["model\nmean 0.800, n = 3", "second observer\nmean 0.550, n = 2"]


@pytest.mark.parametrize("f1", [[np.nan], [0.5, np.nan], list(np.linspace(0, 1, 200))])
def test_per_image_bars_of_odd_sets_can_be_drawn(f1):
    table = per_image(f1)
    table["id"] = "an unusually long name of a photograph " + table["id"]
    assert draw(plots.per_image_f1(table))


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
    assert plots.best_median_worst(per_image(f1), "drive") == expected


def test_title_tells_rank_and_both_observers():
    table = pd.concat([per_image([0.9, np.nan]), per_image([0.6], observer="second_observer")])
    assert plots.example_title(table, "drive", "best", "01") == (
        "drive 01: best of 1 test images, F1 0.900 in the field of view (second observer 0.600)"
    )
    assert "second observer" not in plots.example_title(table, "drive", "best", "02")


def test_worst_window_holds_the_most_errors():
    errors = np.zeros((50, 70), bool)
    errors[30:40, 50:60] = True
    errors[5:10, 5:10] = True
    rows, columns = plots.worst_window(errors, 12)
    assert errors[rows, columns].sum() == 100
    assert (rows.stop - rows.start, columns.stop - columns.start) == (12, 12)


def test_worst_window_without_errors_is_the_first_and_no_larger_than_the_picture():
    assert plots.worst_window(np.zeros((5, 30), bool), 10) == (slice(0, 5), slice(0, 10))


def test_compare_gives_each_outcome_its_colour():
    truth, predicted = np.array([[1, 1, 0, 0, 1]], bool), np.array([[1, 0, 1, 0, 1]], bool)
    fov = np.array([[1, 1, 1, 1, 0]], bool)
    picture = plots.Example(np.zeros((1, 5, 3), np.uint8), truth, predicted * 1.0, predicted, fov)
    colours = ["#%02x%02x%02x" % tuple(pixel) for pixel in plots.compare(picture)[0]]  # noqa: UP031
    expected = [*plots.OUTCOMES.values(), "#ffffff", plots.OUTSIDE]
    assert colours == [colour.lower() for colour in expected]


def test_picture_is_vessel_above_the_threshold_and_not_at_it():
    levels = np.array([[0, 32767, 32768, 65535]], np.uint16)
    fov = np.ones((1, 4), bool)
    picture = plots.picture(np.zeros((1, 4, 3), np.uint8), fov, fov, levels, 32767 / 65535)
    assert picture.predicted.tolist() == [[False, False, True, True]]
    assert picture.probability[0, [0, 3]].tolist() == [0.0, 1.0]


@pytest.mark.parametrize("shape", [(60, 80), (20, 300), (300, 40), (8, 8)])
def test_example_shows_four_views_and_their_details(shape):
    figure = plots.example(example(*shape), zoom=16, title="drive 01")
    draw(figure)
    assert [axes.get_title() for axes in figure.axes[:4]] == list(plots.VIEWS)
    assert len(figure.axes) == 8
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert named[:3] == ["hit", "miss", "false alarm"]


def test_large_photograph_is_shrunk_for_drawing():
    figure = plots.example(example(700, 1050), zoom=160, title="hrf 01")
    assert figure.axes[0].images[0].get_array().shape == (320, 480, 3)


def test_saved_figure_has_the_same_bytes_whatever_the_users_settings(tmp_path):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        plots.save(plots.learning_curves(history()), tmp_path / "one.png", 40)
    plots.save(plots.learning_curves(history()), tmp_path / "new folder" / "two.png", 40)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder" / "two.png").read_bytes()
    assert b"atplotlib" not in (tmp_path / "one.png").read_bytes()


def test_stage_draws_every_chart_and_example(tmp_path):
    metrics, raw = tmp_path / "metrics", tmp_path / "test"
    metrics.mkdir(parents=True)
    history().to_csv(metrics / "training.csv", index=False)
    curve().assign(dataset="drive").to_csv(metrics / "curves.csv", index=False)
    per_image([0.7, 0.9]).to_csv(metrics / "per_image.csv", index=False)
    (metrics / "scores.json").write_text(json.dumps(scores()))
    picture = example()
    samples.write_table(raw, [("drive", "01", "a"), ("drive", "02", "b")])
    for id_ in ("01", "02"):
        samples.write_eye(raw, "drive", samples.Eye(id_, "a", picture.image, picture.truth, picture.fov, None))
        samples.write_probability(tmp_path / "predictions" / "drive" / f"{id_}.png", picture.probability)
    folders = raw, tmp_path / "predictions", metrics, tmp_path / "examples", metrics / "figures"
    stage.main(*folders, Plot(dpi=30, zoom=20))
    charts = {"learning_curves", "roc", "precision_recall", "confusion", "per_image"}
    assert {path.stem for path in (metrics / "figures").glob("*.png")} == charts
    drawn = {path.stem for path in (tmp_path / "examples").glob("*.png")}
    assert drawn == {"drive_best", "drive_median", "drive_worst"}
