import io
import json

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from src import plots, report, reported, samples
from src.params import Plot
from stages import plot as stage

SCORES = {"f1": 0.8, "precision": 0.75, "recall": 0.85, "false_positive_rate": 0.03}
AREAS = {"auc_roc": 0.98, "auc_pr": 0.9, "calibration_error": 0.02, "brier": 0.03}
UNDEFINED = dict.fromkeys((*SCORES, *AREAS))


def history(epochs=3):
    """training.csv of a few epochs."""
    columns = [f"{subset}{score}" for subset in ("", "validation_") for score in reported.HISTORY]
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


def bins():
    """The rows of one data set in reliability.csv, with three bins, one of them empty."""
    return pd.DataFrame(
        {
            "probability_up_to": [1 / 3, 2 / 3, 1.0],
            "pixels": [90, 0, 10],
            "mean_probability": [0.1, np.nan, 0.9],
            "vessel_share": [0.2, np.nan, 0.8],
        }
    )


def classes(**changes):
    """The rows of one data set in doubt.csv, with three classes, one of them empty."""
    table = {
        "doubt_up_to": [0.01, 0.1, 1.0],
        "pixels": [75, 25, 0],
        "wrong": [3, 10, 0],
        "wrong_share": [0.04, 0.4, np.nan],
    }
    return pd.DataFrame(table | changes)


def scores(others=("second_observer",)):
    """scores.json of one data set."""
    return {
        "threshold": 0.4,
        "drive": {"images": 3, "fov": SCORES | AREAS} | {name: {"fov": SCORES} for name in others},
    }


def summary(dataset="drive", observers=("model", "second_observer", "sato"), **changes):
    """summary.csv of one data set; `changes` replaces columns of the model's F1."""
    rows = [
        {"dataset": dataset, "observer": observer, "region": region, "score": score, "pooled": 0.8,
         "mean": 0.8, "sd": 0.1, "low": 0.7, "high": 0.9, "images": 3, "groups": 2}
        | (changes if (observer, score) == ("model", "f1") else {})
        for observer in observers
        for region in ("fov", "full_image")
        for score in (*plots.INTERVALS, "accuracy")
    ]  # fmt: skip
    return pd.DataFrame(rows)


def per_image(f1, dataset="drive", observer="model"):
    """per_image.csv with one row an F1, ids 01, 02, ..."""
    rows = [
        {"dataset": dataset, "id": f"{i:02d}", "group": "g", "observer": observer, "region": region,
         "tp": 9, "fp": 1, "fn": 2, "tn": 88, "f1": value}
        for i, value in enumerate(f1, start=1)
        for region in ("fov", "full_image")
    ]  # fmt: skip
    return pd.DataFrame(rows)


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
    assert [axes.get_title() for axes in figure.axes] == list(reported.HISTORY.values())
    assert all([line.get_label() for line in axes.lines] == ["train", "validation"] for axes in figure.axes)


def test_learning_curves_without_validation_have_one_line():
    table = history()
    table[[f"validation_{score}" for score in reported.HISTORY]] = np.nan
    assert all([line.get_label() for line in axes.lines] == ["train"] for axes in plots.learning_curves(table).axes)


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_mark_operating_point_and_second_observer(chart):
    model, point, human = labels(chart({"drive": curve()}, scores()))
    assert "AUC 0.9" in model
    assert "threshold 0.400" in point
    assert "second observer" in human


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_do_without_other_observers(chart):
    assert len(labels(chart({"drive": curve()}, scores(others=())))) == 2


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_mark_every_filter_with_a_shape_of_its_own(chart):
    figure = chart({"drive": curve()}, scores(others=("model_at_half", "frangi", "matched_filter", "sato")))
    names = [label.split(" (")[0] for label in labels(figure)[2:]]
    assert names == ["matched filter", "Frangi filter", "Sato filter"]
    shapes = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() != "None"]
    assert len(set(shapes)) == len(shapes) == 4


def test_every_observer_but_the_model_at_half_has_a_mark():
    assert {*plots.MARKS, "model_at_half"} == set(reported.OBSERVERS)


@pytest.mark.parametrize("chart", [plots.roc, plots.precision_recall])
def test_curves_leave_out_points_that_are_undefined(chart):
    nothing = {"threshold": 0.4, "drive": {"fov": UNDEFINED, "second_observer": {"fov": UNDEFINED}}}
    figure = chart({"drive": curve() * np.nan}, nothing)
    draw(figure)
    assert labels(figure) == ["model, AUC undefined"]


def test_operating_point_lies_at_its_scores():
    axes = plots.roc({"drive": curve()}, scores()).axes[0]
    point = next(line for line in axes.lines if line.get_marker() == "o")
    assert point.get_xydata()[0] == pytest.approx([0.03, 0.85])


def test_reliability_shows_share_of_vessel_error_and_number_of_pixels():
    figure = plots.reliability({"drive": bins()}, scores())
    line = figure.axes[0].lines[1]
    np.testing.assert_array_equal(line.get_xydata()[[0, 2]], [[0.1, 0.2], [0.9, 0.8]])
    assert labels(figure) == ["perfect calibration", "model, ECE 0.020, Brier 0.030"]
    (below,) = figure.axes[0].child_axes
    assert [bar.get_height() for bar in below.patches] == [90, 0, 10]


def test_reliability_that_is_undefined_can_be_drawn():
    nothing = {"threshold": 0.4, "drive": {"fov": UNDEFINED}}
    figure = plots.reliability(
        {"drive": bins().assign(pixels=0, mean_probability=np.nan, vessel_share=np.nan)}, nothing
    )
    assert draw(figure)
    assert "ECE undefined" in labels(figure)[1]


def test_doubt_shows_the_share_of_wrong_pixels_of_each_class():
    figure = plots.doubt({"drive": classes(), "chase_db1": classes(wrong_share=[0.1, 0.2, 0.3])})
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.04, 0.4, np.nan])
    np.testing.assert_array_equal(axes.lines[1].get_ydata(), [0.1, 0.2, 0.3])
    assert labels(figure) == ["drive", "chase_db1"]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["0.01", "0.1", "1"]


def test_doubt_that_is_not_known_can_be_drawn():
    figure = plots.doubt({"drive": classes(pixels=[0, 0, 0], wrong_share=[np.nan] * 3)})
    assert draw(figure)
    assert [text.get_text() for text in figure.axes[0].texts] == ["predicted without flips: no doubt is known"]


def test_intervals_have_a_dot_and_whiskers_for_each_observer_and_score():
    (axes,) = plots.intervals(summary()).axes
    dots = [line for line in axes.lines if line.get_marker() in "oDv"]
    assert [list(dot.get_xdata()) for dot in dots] == [[0.8] * len(plots.INTERVALS)] * 3
    ends = [list(segment[:, 0]) for whiskers in axes.collections for segment in whiskers.get_segments()]
    assert ends == [[0.7, 0.9]] * (3 * len(plots.INTERVALS))
    assert axes.get_title() == "drive: 3 images of 2 people"


def test_intervals_of_two_sets_share_an_axis_and_one_legend():
    figure = plots.intervals(pd.concat([summary(), summary("stare", ("model",))]))
    assert [axes.get_title().split(":")[0] for axes in figure.axes] == ["drive", "stare"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["model", "second observer", "Sato filter"]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


@pytest.mark.parametrize("gone", [("low", "high"), ("mean", "low", "high")])
def test_intervals_leave_out_what_is_undefined(gone):
    figure = plots.intervals(summary(**dict.fromkeys(gone, np.nan)))
    assert draw(figure)
    assert len([0 for line in figure.axes[0].lines if line.get_marker() == "o"]) == 1


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


def test_saved_figure_has_the_same_bytes_whatever_the_users_settings(tmp_path):
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.bbox": "tight"}):
        plots.save(plots.learning_curves(history()), tmp_path / "one.png", 40)
    plots.save(plots.learning_curves(history()), tmp_path / "new folder" / "two.png", 40)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "new folder" / "two.png").read_bytes()
    assert b"atplotlib" not in (tmp_path / "one.png").read_bytes()


def write_run(tmp_path) -> tuple:
    """The folders that the stage reads and writes."""
    metrics, raw = tmp_path / "metrics", tmp_path / "test"
    metrics.mkdir(parents=True)
    history().to_csv(metrics / "training.csv", index=False)
    curve().assign(dataset="drive").to_csv(metrics / "curves.csv", index=False)
    both = [per_image([0.7, 0.9]), per_image([0.8], observer="second_observer")]
    pd.concat(both).to_csv(metrics / "per_image.csv", index=False)
    bins().assign(dataset="drive").to_csv(metrics / "reliability.csv", index=False)
    classes().assign(dataset="drive").to_csv(metrics / "doubt.csv", index=False)
    summary(observers=("model", "second_observer")).to_csv(metrics / "summary.csv", index=False)
    content = scores()
    content["drive"]["images"], content["drive"]["second_observer"]["images"] = 2, 1
    (metrics / "scores.json").write_text(json.dumps(content))
    image, vessels, fov = np.full((60, 80, 3), 90, np.uint8), np.eye(60, 80, dtype=bool), np.ones((60, 80), bool)
    samples.write_table(raw, [("drive", "01", "a"), ("drive", "02", "b")])
    for id_ in ("01", "02"):
        samples.write_eye(raw, "drive", samples.Eye(id_, "a", image, vessels, fov, None))
        samples.write_probability(tmp_path / "predictions" / "drive" / f"{id_}.png", vessels * 0.9)
    return raw, tmp_path / "predictions", metrics, tmp_path / "examples", metrics / "figures"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scores.json", "expected JSON"),
        *(
            (f"{name}.csv", "expected the columns ")
            for name in ("training", "curves", "reliability", "doubt", "summary")
        ),
    ],
)
def test_stage_names_a_file_that_is_empty_before_it_draws(tmp_path, name, said):
    folders = write_run(tmp_path)
    (tmp_path / "metrics" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/metrics/{name}: {said}"):
        stage.main(*folders, Plot(dpi=30, zoom=160))
    assert not (tmp_path / "metrics" / "figures").exists()


def test_stage_names_the_table_without_a_photograph_that_has_scores(tmp_path):
    folders = write_run(tmp_path)
    samples.write_table(tmp_path / "test", [("drive", "01", "a")])
    with pytest.raises(ValueError, match=r"test/samples\.csv: expected the photograph drive/02, of which there are sc"):
        stage.main(*folders, Plot(dpi=30, zoom=160))


def test_stage_draws_every_chart_and_example(tmp_path):
    folders, metrics = write_run(tmp_path), tmp_path / "metrics"
    stage.main(*folders, Plot(dpi=30, zoom=160))
    assert {path.stem for path in (metrics / "figures").glob("*.png")} == set(report.FIGURES)
    drawn = {path.stem for path in (tmp_path / "examples").glob("*.png")}
    assert drawn == {"drive_best", "drive_median", "drive_worst"}
