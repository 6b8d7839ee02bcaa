"""Hypothesis strategies for damaged bytes, tables and JSON, and hostile values in them."""

import copy
import functools
import json
from typing import Any

from hypothesis import strategies as st

HOSTILE_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1, 10**30, -(10**30), 10**400, 1e308, -1e-308, float("nan"), float("inf")),
    *("", "1e-5", "null", "\x00", "é" * 500, "../../etc/passwd", "01", "1_000"),
    *([], [[]], {}, {"a": {}}, ["drive"] * 3, [1, 2]),
)


HOSTILE_CELLS = ("", "nan", "inf", "-1", "1e400", "True", "x", "0x10", "1_0", "\x00", '"', "1.5", "9" * 23, "\n", "é")


EDITS = ("flip a bit", "truncate", "delete", "duplicate", "zeros", "ones", "replace")


values = st.sampled_from(HOSTILE_VALUES) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


cells = st.sampled_from(HOSTILE_CELLS) | st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=10)


edits = st.lists(
    st.tuples(st.integers(0, 2**20), st.sampled_from(EDITS), st.binary(min_size=1, max_size=64)), max_size=4
)


def _edit(content: bytes, place: int, edit: str, data: bytes) -> bytes:
    start = place % max(len(content), 1)
    before, after, rest = content[:start], content[start:], content[start + len(data) :]
    return {
        "flip a bit": before + bytes([after[0] ^ 1 << data[0] % 8]) + after[1:] if after else b"",
        "truncate": before,
        "delete": before + rest,
        "duplicate": before + after[: len(data)] + after,
        "zeros": before + bytes(len(data)) + rest,
        "ones": before + b"\xff" * len(data) + rest,
        "replace": before + data + rest,
    }[edit]


def damage(content: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    """Apply edits to the bytes of a file one after another."""
    return functools.reduce(lambda damaged, change: _edit(damaged, *change), changes, content)


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Generate the bytes with up to four edits; now and then unchanged."""
    return edits.map(functools.partial(damage, content))


def damaged_text(text: str) -> st.SearchStrategy[bytes]:
    """Generate a table or another text with edits, or with one hostile cell."""
    return damaged(text.encode()) | st.tuples(st.integers(0, 10**6), cells).map(lambda change: _set_cell(text, *change))


def _set_cell(text: str, number: int, cell: str) -> bytes:
    rows = [line.split(",") for line in text.splitlines()]
    row = rows[number % len(rows)]
    row[number // len(rows) % len(row)] = cell
    return ("\n".join(map(",".join, rows)) + "\n").encode()


def damaged_json(text: str) -> st.SearchStrategy[bytes]:
    """Generate a JSON text with edits, or with one hostile value or key."""
    changes = st.tuples(st.lists(st.integers(0, 50), min_size=1, max_size=4), values, st.booleans())
    return damaged(text.encode()) | changes.map(
        lambda change: json.dumps(set_value(json.loads(text), *change)).encode()
    )


def set_value(tree: dict[str, Any], path: list[int], value: object, new_key: bool) -> dict[str, Any]:
    """Set a value in nested dicts, that at the key of the numbers in `path`, or one under an unknown key."""
    tree = copy.deepcopy(tree)
    place = tree
    for depth, number in enumerate(path, 1):
        key = list(place)[number % len(place)]
        if depth == len(path) or not isinstance(place[key], dict) or not place[key]:
            break
        place = place[key]
    place["unknown" if new_key else key] = value
    return tree
