from pathlib import Path

import pytest

from src.data import samples
from src.params import Plot
from src.reporting import figure_texts
from stages import plot as stage
from tests.reporting.example_run import write_metrics, write_test_images

PLOT = Plot(dpi=30, detail_size=160)
NAMES = ("test", "predictions", "metrics", "examples")


def write_run(folder: Path) -> list[Path]:
    """Write what the stage reads; its folders."""
    test, predictions, metrics, examples = (folder / name for name in NAMES)
    write_metrics(metrics, {"01": 0.7, "02": 0.9})
    write_test_images(test, predictions, ["01", "02"])
    return [test, predictions, metrics, examples, metrics / "figures"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("validation.json", "expected JSON"),
        *(
            (f"{name}.csv", "expected the columns ")
            for name in ("training", "curves", "reliability", "uncertainty", "summary", "per_image")
        ),
    ],
)
def test_stage_names_an_empty_file_before_it_draws(tmp_path, name, said):
    folders = write_run(tmp_path)
    (tmp_path / "metrics" / name).write_bytes(b"")
    with pytest.raises(ValueError, match=rf"^{tmp_path}/metrics/{name}: {said}"):
        stage.main(*folders, PLOT)
    assert not (tmp_path / "metrics" / "figures").exists()


def test_stage_names_the_table_that_lacks_an_image_with_scores(tmp_path):
    folders = write_run(tmp_path)
    samples.write_table(tmp_path / "test", [("drive", "01", "a")])
    with pytest.raises(ValueError, match=r"test/samples\.csv: expected the .* drive/02"):
        stage.main(*folders, PLOT)


def test_stage_draws_every_figure_and_example(tmp_path):
    stage.main(*write_run(tmp_path), PLOT)
    assert {path.stem for path in (tmp_path / "metrics" / "figures").glob("*.png")} == set(figure_texts.FIGURES)
    examples = {path.stem for path in (tmp_path / "examples").glob("*.png")}
    assert examples == {"drive_best", "drive_median", "drive_worst"}
