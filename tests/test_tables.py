import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src import evaluation, pack, page, reported, tables
from src.params import load_params
from tests.test_archives import refused_by_name

COMMITTED = Path(__file__).parents[1] / "metrics"
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = ("", "nan", "inf", "-1", "1e400", "True", "good", "0x10", "1_0", "\x00", "1.5", "9" * 23, "a\nb", "é")
VALUES = (None, True, -1, 1.5, 10**400, float("nan"), "good", [], {}, {"fov": 1}, [{}])


def read_all(metrics: Path) -> None:
    """Read the tables as stages plot, report and record do."""
    scores = tables.read_scores(metrics / "scores.json", (*tables.POINT, *tables.AREAS))
    tables.read_per_image(metrics / "per_image.csv", scores, page.OF_AN_IMAGE)
    tables.read_summary(metrics / "summary.csv", scores)
    tables.read_differences(metrics / "differences.csv", scores)
    for name in ("curves", "reliability", "doubt"):
        tables.read_of_sets(metrics / f"{name}.csv", scores)
    tables.read(metrics / "audit.csv")
    tables.read(metrics / "training.csv", reported.HISTORY_COLUMNS)


@pytest.fixture
def metrics(tmp_path) -> Path:
    """The tables of the committed run."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in (*tables.FORMATS, "scores.json", "validation.json"):
        shutil.copy(COMMITTED / name, folder)
    return folder


def refused(metrics: Path, name: str) -> str:
    """What is said of the damaged file, which must begin with its path and be one line."""
    with pytest.raises(ValueError, match=rf"^{re.escape(str(metrics / name))}: ") as caught:
        read_all(metrics)
    assert type(caught.value) is ValueError
    said = str(caught.value).removeprefix(f"{metrics / name}: ")
    assert said.isprintable()
    return said


def test_committed_tables_are_read(metrics):
    read_all(metrics)


@pytest.mark.parametrize("name", tables.FORMATS)
def test_counts_are_whole_and_texts_stay_texts(metrics, name):
    table, form = tables.read(metrics / name), tables.FORMATS[name]
    assert {str(table[column].dtype) for column in form.counts} <= {"int64"}
    assert all(isinstance(value, str) for column in form.texts for value in table[column])
    assert {str(table[column].dtype) for column in form.numbers} <= {"float64"}


@pytest.mark.parametrize("name", tables.FORMATS)
def test_table_that_is_empty_cut_off_or_no_text_is_named(metrics, name):
    whole = (metrics / name).read_bytes()
    header = whole.partition(b"\n")[0]
    for content, said in (
        (b"", "expected the columns"),
        (header + b"\n", "expected at least one row, found none"),
        (whole[: -len(whole.splitlines()[-1]) // 2], r"expected \d+ cells in every row, got|expected "),
        (b"\xff\xfe" + whole, "expected a text in UTF-8, got invalid start byte at byte 0"),
        (header.replace(b",", b",", 1) + b",x\n1\n", r"expected \d+ cells in every row, got 1 in row 1"),
    ):
        (metrics / name).write_bytes(content)
        assert re.match(said, refused(metrics, name))


@pytest.mark.parametrize("name", tables.FORMATS)
def test_every_column_that_is_missing_is_named(metrics, name):
    table, form = pd.read_csv(metrics / name, dtype=str), tables.FORMATS[name]
    for column in (*form.texts, *form.counts, *form.known, *form.numbers):
        table.drop(columns=column).to_csv(metrics / name, index=False)
        assert refused(metrics, name) == f"expected the columns {column}, found none"


@pytest.mark.parametrize("name", tables.FORMATS)
def test_text_instead_of_a_number_is_named_with_its_column(metrics, name):
    table, form = pd.read_csv(metrics / name, dtype=str), tables.FORMATS[name]
    for column in (*form.counts, *form.known, *form.numbers):
        changed = table.copy()
        changed.loc[0, column] = "good"
        changed.to_csv(metrics / name, index=False)
        assert refused(metrics, name).startswith(f"{column}: expected ")


@pytest.mark.parametrize(
    ("change", "name", "said"),
    [
        (lambda table: table[table["observer"] != "model"], "per_image.csv", r"expected \d+ images of .*, model, fov"),
        (lambda table: table[:-1], "per_image.csv", r"expected \d+ images of .*, sato, fov"),
        (lambda table: pd.concat([table, table[:1]]), "per_image.csv", "expected a row once, got .*/model/fov/"),
        (lambda table: table.assign(dataset="none"), "per_image.csv", "expected the test sets of scores.json"),
        (lambda table: table.assign(dataset="none"), "curves.csv", "expected the test sets of scores.json"),
        (lambda table: table[table["score"] != "f1"], "summary.csv", "expected f1 on .* of model, model_at_half"),
        (lambda table: table[table["observer"] != "sato"], "summary.csv", "expected f1 on .*, sato, got"),
        (lambda table: table[table["observer"] != "sato"], "differences.csv", "expected f1 on .* of model_at_half, "),
    ],
)  # fmt: skip
def test_tables_that_do_not_belong_together_are_named(metrics, change: Callable, name, said):
    table = pd.read_csv(metrics / name, dtype=str)
    if name == "per_image.csv":
        table = table[table["region"] == "fov"]
    change(table).to_csv(metrics / name, index=False)
    assert re.match(said, refused(metrics, name))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda scores: [scores], r"expected JSON of names and values, got \[\{"),
        (lambda scores: {"phantom": scores["phantom"]}, "threshold: expected a number from 0 to 1, got None"),
        (lambda scores: scores | {"threshold": "0.4"}, "threshold: expected a number from 0 to 1, got '0.4'"),
        (lambda scores: {"threshold": 0.4}, "expected scores of a test set, found none"),
        (lambda scores: scores | {"drive": 1}, "drive: expected scores by name, got 1"),
        (lambda scores: scores | {"drive": {"fov": {}}}, "drive.model: expected a number of images, got None"),
        (lambda scores: scores | {"drive": {"images": 2, "fov": []}}, r"drive.fov: expected scores by name, got \[\]"),
        (lambda scores: scores | {"drive": {"images": 2, "fov": {"f1": "a"}}}, "drive.fov.f1: expected a number or nu"),
        (lambda scores: scores | {"drive": {"images": 2, "fov": {"f1": 1}}}, "drive.model: expected precision, recall"),
    ],
)
def test_scores_of_another_form_are_named(metrics, change: Callable, said):
    scores = json.loads((metrics / "scores.json").read_text(encoding="utf-8"))
    (metrics / "scores.json").write_text(json.dumps(change(scores)), encoding="utf-8")
    assert re.match(said, refused(metrics, "scores.json"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"threshold": \xff}', b"[" * 100_000, b"null", b'{"a": ' + b"9" * 5000]
)
def test_json_that_is_none_is_named(metrics, content):
    (metrics / "scores.json").write_bytes(content)
    refused(metrics, "scores.json")


@QUICK
@given(data=st.data(), name=st.sampled_from([*tables.FORMATS, "scores.json"]))
def test_bytes_that_are_damaged_are_read_or_named(metrics, data, name):
    whole = (COMMITTED / name).read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=4))
    (metrics / name).write_bytes(content)
    with refused_by_name(f"{metrics}/"):  # what is cut off a table may be missed by another
        read_all(metrics)
    (metrics / name).write_bytes(whole)


@QUICK
@given(data=st.data(), name=st.sampled_from(list(tables.FORMATS)), cell=st.sampled_from(CELLS))
def test_cell_that_is_damaged_is_read_or_named(metrics, data, name, cell):
    table = pd.read_csv(COMMITTED / name, dtype=str, keep_default_na=False)
    column = data.draw(st.sampled_from(list(table)))
    table.loc[data.draw(st.integers(0, len(table) - 1)), column] = cell
    table.to_csv(metrics / name, index=False)
    with refused_by_name(f"{metrics / name}: "):
        read_all(metrics)
    shutil.copy(COMMITTED / name, metrics)


@QUICK
@given(data=st.data(), value=st.sampled_from(VALUES))
def test_value_that_is_damaged_is_read_or_named(metrics, data, value):
    scores = json.loads((COMMITTED / "scores.json").read_text(encoding="utf-8"))
    place = scores
    while True:
        key = data.draw(st.sampled_from(list(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    (metrics / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    with refused_by_name(f"{metrics}/"):
        read_all(metrics)
    shutil.copy(COMMITTED / "scores.json", metrics)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"frangi": 0.3', "expected JSON, got "),
        ('["frangi"]', "expected JSON of names and values, got "),
        ('{"frangi": "high"}', "frangi: expected a number from 0 to 1, got 'high'"),
        ('{"frangi": NaN}', "frangi: expected a number from 0 to 1, got nan"),
        ('{"../frangi": 0.3}', "expected thresholds of .*, got one of '../frangi'"),
    ],
)
def test_thresholds_of_filters_that_are_none_are_named(tmp_path, content, said):
    path = tmp_path / "thresholds.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path}: {said}"):
        evaluation.read_thresholds(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"validation": 1}', '{"validation": {"threshold": null}}'])
def test_validation_without_a_threshold_is_named(tmp_path, content):
    path, network = tmp_path / "validation.json", tmp_path / "model.onnx"
    path.write_text(content, encoding="utf-8")
    network.touch()
    with pytest.raises(ValueError, match=rf"^{path}: "):
        pack.pack(network, path, load_params(), tmp_path / "out.onnx")
