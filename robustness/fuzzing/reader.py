"""A reader that is fuzzed, and how its faults are told."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis.strategies import SearchStrategy


class Fault(Exception):
    """An input that is neither read to a result of the promised form nor rejected with a clear message."""


class Reader(NamedTuple):
    """A reader: its inputs, and how one is written to a folder and read.

    Attributes:
        inputs: what Hypothesis generates.
        read: writes an input to an empty folder and reads it; raises Fault for a result of another form.
        names: of which an error message has to contain one.
        cost: how many times fewer inputs it gets.
        limit_memory: whether its address space is limited.
    """

    inputs: SearchStrategy[Any]
    read: Callable[[Any, Path], None]
    names: tuple[str, ...]
    cost: int = 1
    limit_memory: bool = True


def expect(right: object, what: str) -> None:
    """Raise Fault where a result has not the promised form."""
    if not right:
        raise Fault(f"wrong result: {what}")
