import numpy as np
import pytest

from experiments.result_writer import RESULTS, ResultWriter
from src.common import atomic_io


def test_file_is_complete_after_each_row(tmp_path):
    path = tmp_path / "results.csv"
    writer = ResultWriter(path, ["name", "images", "f1"])
    writer.add(name="a", f1=1 / 3)
    assert path.read_text(encoding="utf-8") == "name,images,f1\na,,0.333333\n"
    writer.add(name="b", images=2, f1=float("nan"))
    assert path.read_text(encoding="utf-8") == "name,images,f1\na,,0.333333\nb,2,\n"


def test_rows_are_printed_as_markdown(tmp_path, capsys):
    ResultWriter(tmp_path / "results.csv", ["name", "images", "f1"]).add(name="a", f1=1 / 3)
    assert capsys.readouterr().out == "| name | images | f1 |\n| --- | --- | --- |\n| a | - | 0.3333 |\n"


def test_value_without_a_column_is_an_error(tmp_path):
    with pytest.raises(ValueError, match=r"^expected values of name, got f1$"):
        ResultWriter(tmp_path / "results.csv", ["name"]).add(f1=1.0)


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_kept_results_have_a_cell_for_each_column_and_low_below_high(path):
    header, *rows = atomic_io.read_rows(path)
    assert {len(row) for row in rows} == {len(header)}
    for low in (name for name in header if name.endswith("_low")):
        pairs = [(row[header.index(low)], row[header.index(low.replace("_low", "_high"))]) for row in rows]
        known = np.array([pair for pair in pairs if all(pair)], float).reshape(-1, 2)
        assert (known[:, 0] <= known[:, 1]).all()


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.csv")), ids=lambda path: path.stem)
def test_readme_says_where_kept_results_are_from(path):
    assert f"| {path.name} |" in (RESULTS.parent / "README.md").read_text(encoding="utf-8")
