"""Numbers and tables as they stand in Markdown; what is undefined is "-"."""

import math
from collections.abc import Iterable

LEAST_P = 0.0001  # a smaller p is only said to be smaller


def number(value: float, digits: int = 4, sign: bool = False) -> str:
    """A number with that many digits after the point; "-" where it is undefined.

    >>> number(0.82), number(0.0335, digits=2, sign=True), number(math.nan)
    ('0.8200', '+0.03', '-')
    """
    return "-" if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def interval(low: float, high: float, digits: int = 4, sign: bool = False) -> str:
    """Both ends of an interval; "-" where it is undefined.

    >>> interval(-0.01, 0.02, digits=2, sign=True), interval(math.nan, math.nan)
    ('-0.01 to +0.02', '-')
    """
    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def p_value(p: float) -> str:
    """A p-value, never zero.

    >>> p_value(0.0171), p_value(2e-6), p_value(math.nan)
    ('0.0171', '<0.0001', '-')
    """
    return f"<{LEAST_P}" if p < LEAST_P else number(p)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table.

    >>> print(table(["score", "mean"], [["F1", "0.8"]]))
    | score | mean |
    | --- | --- |
    | F1 | 0.8 |
    """
    head = list(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *rows])
