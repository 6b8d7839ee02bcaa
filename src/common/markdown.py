"""Numbers, intervals and tables in Markdown; an undefined value is "-"."""

import math
from collections.abc import Iterable

MIN_P = 0.0001


def number(value: float, digits: int = 4, sign: bool = False) -> str:
    """Format a number with `digits` decimals; "-" where it is NaN.

    >>> number(0.82), number(0.0335, digits=2, sign=True), number(math.nan)
    ('0.8200', '+0.03', '-')
    """
    return "-" if math.isnan(value) else f"{value:{'+' if sign else ''}.{digits}f}"


def interval(low: float, high: float, digits: int = 4, sign: bool = False) -> str:
    """Format both ends of an interval; "-" where one is NaN.

    >>> interval(-0.01, 0.02, digits=2, sign=True), interval(math.nan, math.nan)
    ('-0.01 to +0.02', '-')
    """
    if math.isnan(low) or math.isnan(high):
        return "-"
    return f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def p_value(p: float) -> str:
    """Format a p-value; below `MIN_P` as an upper bound.

    >>> p_value(0.0171), p_value(2e-6), p_value(math.nan)
    ('0.0171', '<0.0001', '-')
    """
    return f"<{MIN_P}" if p < MIN_P else number(p)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    r"""Format a Markdown table with a header; a | in a cell is escaped.

    >>> print(table(["score", "mean"], [["F1", "0.8"], ["|error|", "0.1"]]))
    | score | mean |
    | --- | --- |
    | F1 | 0.8 |
    | \|error\| | 0.1 |
    """
    head = list(head)
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in [head, ["---"] * len(head), *rows])
    return "\n".join(f"| {' | '.join(line)} |" for line in escaped)
