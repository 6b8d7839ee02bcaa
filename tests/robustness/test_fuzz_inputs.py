from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st

from robustness import fuzz_inputs
from robustness.fuzzing.reader import Fault, Reader, expect
from robustness.fuzzing.strategies import damage, set_value


def reader(read: Callable[[object, Path], None]) -> Reader:
    return Reader(st.none(), read, ("a.csv",))


def fail(error: Exception) -> Callable[[object, Path], None]:
    def read(value: object, folder: Path) -> None:
        raise error

    return read


def test_result_of_the_promised_form_is_accepted(tmp_path):
    assert fuzz_inputs.examine(
        reader(lambda value, folder: expect(folder.is_dir(), "folder")), None, tmp_path / "input"
    )


@pytest.mark.parametrize("error", [ValueError("a.csv: broken"), FileNotFoundError("a.csv: missing")])
def test_message_that_names_the_file_is_a_rejection(tmp_path, error):
    assert not fuzz_inputs.examine(reader(fail(error)), None, tmp_path / "input")


@pytest.mark.parametrize(
    "error",
    [
        ValueError("broken"),
        ValueError("a.csv: two\nlines"),
        UnicodeError("a.csv: a subclass, from the depths of a library"),
        KeyError("a.csv"),
        Fault("wrong result"),
    ],
)
def test_everything_else_is_a_fault(tmp_path, error):
    with pytest.raises((Fault, type(error))):
        fuzz_inputs.examine(reader(fail(error)), None, tmp_path / "input")


@pytest.mark.parametrize("name", ["params.yaml", "zip", "samples.csv", "predictions.csv"])
def test_reader_is_fuzzed_without_a_fault(tmp_path, name):
    counts = fuzz_inputs.fuzz(name, 10, 1, tmp_path / "input")
    assert counts.faults == []
    assert counts.accepted + counts.rejected == 10


def test_edits_are_applied_one_after_another():
    changes = [(1, "delete", b"xx"), (0, "duplicate", b"x"), (0, "flip a bit", b"\x00"), (2, "truncate", b"x")]
    assert damage(b"abcd", changes) == b"`a"


def test_value_is_set_deep_in_a_tree_without_changing_it():
    tree = {"a": {"b": 1, "c": 2}}
    assert set_value(tree, [0, 1], "x", new_key=False) == {"a": {"b": 1, "c": "x"}}
    assert set_value(tree, [0, 1], "x", new_key=True) == {"a": {"b": 1, "c": 2, "unknown": "x"}}
    assert tree == {"a": {"b": 1, "c": 2}}
