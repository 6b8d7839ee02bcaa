import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from src.common.operating_point import read_threshold
from src.evaluation import evaluator, result_tables
from src.metrics import metric_definitions

KEPT = (
    Path(__file__).parents[2] / "metrics" / "experiments" / "drive_20_ensemble"
)  # two test sets with a second observer
FILES = (*result_tables.FORMATS, "scores.json", "validation.json")
QUICK = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CELLS = ("", "nan", "inf", "-1", "1e400", "True", "good", "0x10", "1_0", "\x00", "1.5", "9" * 23, "a\nb", "é")
VALUES = (None, True, -1, 1.5, 10**400, float("nan"), "good", [], {}, {"fov": 1}, [{}])


def read_all(metrics: Path) -> None:
    """Read the files as stages plot, report and record do."""
    read_threshold(metrics / "validation.json")
    for name in ("scores.json", "validation.json"):
        result_tables.read_scores(metrics / name)
    summary = result_tables.read_summary(metrics / "summary.csv")
    result_tables.read_per_image(metrics / "per_image.csv", summary, ["f1"])
    result_tables.read_differences(metrics / "differences.csv", summary)
    for name in ("curves", "reliability", "uncertainty"):
        result_tables.read_by_dataset(metrics / f"{name}.csv", summary)
    result_tables.read(metrics / "audit.csv")
    result_tables.read(metrics / "training.csv", metric_definitions.HISTORY_COLUMNS)


@pytest.fixture
def metrics(tmp_path) -> Path:
    """The tables of a real run."""
    folder = tmp_path / "metrics"
    folder.mkdir()
    for name in FILES:
        shutil.copy(KEPT / name, folder)
    return folder


def read_alone(metrics: Path, name: str) -> None:
    """Read one table, as `read_all` begins to."""
    needed = {"per_image.csv": ["f1"], "training.csv": metric_definitions.HISTORY_COLUMNS}
    result_tables.read(metrics / name, needed.get(name, []))


def rejection(metrics: Path, name: str, alone: bool = False) -> str:
    """The message on the damaged file, which must begin with its path and be one line."""
    with pytest.raises(ValueError, match=rf"^{re.escape(str(metrics / name))}: ") as caught:
        read_alone(metrics, name) if alone else read_all(metrics)
    assert type(caught.value) is ValueError
    message = str(caught.value).removeprefix(f"{metrics / name}: ")
    assert message.isprintable()
    return message


@contextlib.contextmanager
def rejected_by_name(name: str) -> Iterator[None]:
    """The block ends well, or with a ValueError of one line that begins with the name."""
    error = None
    try:
        yield
    except ValueError as caught:
        error = caught
    assert error is None or type(error) is ValueError
    assert error is None or str(error).startswith(name)
    assert error is None or str(error).isprintable()


def test_tables_of_a_run_are_read(metrics):
    read_all(metrics)


@pytest.mark.parametrize("name", result_tables.FORMATS)
def test_counts_are_whole_and_texts_stay_texts(metrics, name):
    table, form = result_tables.read(metrics / name), result_tables.FORMATS[name]
    assert {str(table[column].dtype) for column in form.counts} <= {"int64"}
    assert all(isinstance(value, str) for column in (*form.key, *form.texts) for value in table[column])
    assert {str(table[column].dtype) for column in form.numbers} <= {"float64"}


@pytest.mark.parametrize("name", result_tables.FORMATS)
def test_table_that_is_empty_cut_off_or_no_text_is_named(metrics, name):
    whole = (metrics / name).read_bytes()
    header = whole.partition(b"\n")[0]
    for content, message in (
        (b"", "expected the columns"),
        (header + b"\n", "expected at least one row, found none"),
        (whole[: -len(whole.splitlines()[-1]) // 2], r"expected \d+ cells in every row, got|expected "),
        (b"\xff\xfe" + whole, "expected a text in UTF-8, got invalid start byte at byte 0"),
        (header.replace(b",", b",", 1) + b",x\n1\n", r"expected \d+ cells in every row, got 1 in row 1"),
    ):
        (metrics / name).write_bytes(content)
        assert re.match(message, rejection(metrics, name, alone=True))


@pytest.mark.parametrize("name", result_tables.FORMATS)
def test_every_column_that_is_missing_is_named(metrics, name):
    table, form = pd.read_csv(metrics / name, dtype=str), result_tables.FORMATS[name]
    for column in (column for group in form for column in group):
        table.drop(columns=column).to_csv(metrics / name, index=False)
        assert rejection(metrics, name, alone=True) == f"expected the columns {column}, found none"


@pytest.mark.parametrize("name", result_tables.FORMATS)
def test_text_instead_of_a_number_is_named_with_its_column(metrics, name):
    table, form = pd.read_csv(metrics / name, dtype=str), result_tables.FORMATS[name]
    for column in (*form.counts, *form.finite, *form.numbers):
        changed = table.copy()
        changed.loc[0, column] = "good"
        changed.to_csv(metrics / name, index=False)
        assert rejection(metrics, name, alone=True).startswith(f"{column}: expected ")


@pytest.mark.parametrize(
    ("change", "name", "message"),
    [
        (lambda table: table[table["observer"] != "model"], "per_image.csv", r"expected \d+ images of .*, model, fov"),
        (lambda table: table[:-1], "per_image.csv", r"expected \d+ images of .*, sato, fov"),
        (lambda table: pd.concat([table, table[:1]]), "per_image.csv", "expected each row once, got .*/model/fov/"),
        (lambda table: table.assign(dataset="none"), "per_image.csv", "expected the test sets of summary.csv"),
        (lambda table: table.assign(dataset="none"), "curves.csv", "expected the test sets of summary.csv"),
        (lambda table: table[table["score"] != "f1"], "summary.csv", "expected f1 of model on chase_db1, fov"),
        (lambda table: table[table["observer"] != "model"], "summary.csv", "expected accuracy, .* of model on"),
        (lambda table: table[table["observer"] != "sato"], "differences.csv", "expected f1 on .* of model_at_half, "),
    ],
)  # fmt: skip
def test_tables_that_do_not_belong_together_are_named(metrics, change: Callable, name, message):
    table = pd.read_csv(metrics / name, dtype=str)
    if name == "per_image.csv":
        table = table[table["region"] == "fov"]
    change(table).to_csv(metrics / name, index=False)
    assert re.match(message, rejection(metrics, name))


def test_observer_that_the_summary_lacks_is_named(metrics):
    table = pd.read_csv(metrics / "summary.csv", dtype=str)
    table[table["observer"] != "sato"].to_csv(metrics / "summary.csv", index=False)
    expected = "expected 0 images of chase_db1, sato, fov, as in summary.csv, got "
    assert rejection(metrics, "per_image.csv").startswith(expected)


def test_scores_of_earlier_versions_have_their_present_names():
    text = (KEPT / "per_image.csv").read_text(encoding="utf-8")
    earlier = text.replace("recall_medium", "recall_middle").replace("precision_medium", "precision_middle")
    now = result_tables.parse(text, "now", "per_image.csv")
    assert result_tables.parse(earlier, "earlier", "per_image.csv").equals(now)
    text = (KEPT / "summary.csv").read_text(encoding="utf-8")
    parsed = result_tables.parse(text.replace("recall_medium", "recall_middle"), "earlier", "summary.csv")
    assert parsed.equals(result_tables.parse(text, "now", "summary.csv"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda scores: [scores], r"expected JSON of names and values, got \[\{"),
        (lambda scores: {}, "expected scores, found none; `dvc repro evaluate` writes them"),
        (
            lambda scores: {"threshold": 0.4} | scores,
            "threshold: expected scores by name, got 0.4; run `dvc",
        ),
        (lambda scores: scores | {"stare": {"f1": "a"}}, "stare.f1: expected a number or null, got 'a'"),
        (lambda scores: scores | {"stare": {"fov": {"f1": 1}}}, "stare.fov: expected a number or null, got {'f1'"),
    ],
)
def test_scores_of_another_form_are_named(metrics, change: Callable, message):
    scores = json.loads((metrics / "scores.json").read_text(encoding="utf-8"))
    (metrics / "scores.json").write_text(json.dumps(change(scores)), encoding="utf-8")
    assert re.match(message, rejection(metrics, "scores.json"))


@pytest.mark.parametrize(
    "content", [b"", b"{", b'{"threshold": \xff}', b"[" * 100_000, b"null", b'{"a": ' + b"9" * 5000]
)
def test_json_that_is_none_is_named(metrics, content):
    (metrics / "scores.json").write_bytes(content)
    rejection(metrics, "scores.json")


@QUICK
@given(data=st.data(), name=st.sampled_from(FILES))
def test_bytes_that_are_damaged_are_read_or_named(metrics, data, name):
    whole = (KEPT / name).read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place : place + data.draw(st.integers(0, 40))] = data.draw(st.binary(max_size=4))
    (metrics / name).write_bytes(content)
    with rejected_by_name(f"{metrics}/"):  # what is cut off a table may be missed by another
        read_all(metrics)
    (metrics / name).write_bytes(whole)


@QUICK
@given(data=st.data(), name=st.sampled_from(list(result_tables.FORMATS)), cell=st.sampled_from(CELLS))
def test_cell_that_is_damaged_is_read_or_named(metrics, data, name, cell):
    table = pd.read_csv(KEPT / name, dtype=str, keep_default_na=False)
    column = data.draw(st.sampled_from(list(table)))
    table.loc[data.draw(st.integers(0, len(table) - 1)), column] = cell
    table.to_csv(metrics / name, index=False)
    with rejected_by_name(f"{metrics / name}: "):
        read_all(metrics)
    shutil.copy(KEPT / name, metrics)


@QUICK
@given(data=st.data(), value=st.sampled_from(VALUES))
def test_value_that_is_damaged_is_read_or_named(metrics, data, value):
    scores = json.loads((KEPT / "scores.json").read_text(encoding="utf-8"))
    place = scores
    while True:
        key = data.draw(st.sampled_from(list(place)))
        if not isinstance(place[key], dict) or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = value
    (metrics / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    with rejected_by_name(f"{metrics}/"):
        read_all(metrics)
    shutil.copy(KEPT / "scores.json", metrics)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"frangi": 0.3', "expected JSON, got "),
        ('["frangi"]', "expected JSON of names and values, got "),
        ('{"frangi": "high"}', "frangi: expected a number from 0 to 1, got 'high'"),
        ('{"frangi": NaN}', "frangi: expected a number from 0 to 1, got nan"),
        ('{"../frangi": 0.3}', "expected thresholds of .*, got one of '../frangi'"),
        ('{"model": 0.3}', "expected thresholds of matched_filter, frangi, sato, got one of 'model'"),
    ],
)
def test_thresholds_of_filters_that_are_none_are_named(tmp_path, content, message):
    path = tmp_path / "thresholds.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path}: {message}"):
        evaluator.read_thresholds(path)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"validation": 1}', '{"validation": {"threshold": null}}'])
def test_validation_without_a_threshold_is_named(tmp_path, content):
    path = tmp_path / "validation.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"^{path}: "):
        read_threshold(path)
