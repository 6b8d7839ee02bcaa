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
    image, vessels, fov = np.full((60, 80, 3), 90, np.uint8), np.eye(60, 80, dtype=bool), np.ones((60, 80), bool)
    samples.write_table(raw, [("drive", "01", "a"), ("drive", "02", "b")])
    for id_ in ("01", "02"):
        samples.write_eye(raw, "drive", samples.Eye(id_, "a", image, vessels, fov, None))
        samples.write_probability(tmp_path / "predictions" / "drive" / f"{id_}.png", vessels * 0.9)
    folders = raw, tmp_path / "predictions", metrics, tmp_path / "examples", metrics / "figures"
    stage.main(*folders, Plot(dpi=30, zoom=160))
    charts = {"learning_curves", "roc", "precision_recall", "confusion", "per_image"}
    assert {path.stem for path in (metrics / "figures").glob("*.png")} == charts
    drawn = {path.stem for path in (tmp_path / "examples").glob("*.png")}
    assert drawn == {"drive_best", "drive_median", "drive_worst"}
