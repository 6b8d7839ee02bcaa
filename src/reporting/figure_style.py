"""Common look of the figures: matplotlib settings, marks of the observers, square panels, writing as PNG.

Nothing touches pyplot or the user's matplotlib settings.
"""

import io
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from src.common import atomic_io
from src.common.palette import BLUE, VERMILION

GREEN, PURPLE, BLACK = "#009E73", "#CC79A7", "#000000"  # of the palette of Okabe and Ito, too
LINE_COLOURS = (BLUE, VERMILION, GREEN, PURPLE, BLACK)  # of lines that stand for test sets
STYLE: dict[RcKeyType, Any] = {
    **{key: value for key, value in mpl.rcParamsDefault.items() if key.split(".")[0] not in ("backend", "toolbar")},
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "axes.axisbelow": True,
    "figure.constrained_layout.h_pad": 0.08,  # inches
    "figure.constrained_layout.w_pad": 0.08,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
}
figure_style = mpl.rc_context(STYLE)  # decorator of every function that returns a Figure


class Mark(NamedTuple):
    """Mark of an observer in a figure; hollow marks stay legible where they overlap."""

    shape: str
    colour: str
    hollow: bool


OBSERVER_MARKS = {
    "model": Mark("o", BLUE, hollow=False),
    "second_observer": Mark("D", VERMILION, hollow=False),
    "matched_filter": Mark("^", GREEN, hollow=True),
    "frangi": Mark("s", PURPLE, hollow=True),
    "sato": Mark("v", BLACK, hollow=True),
}


def marker_style(observer: str, size: float) -> dict[str, Any]:
    """Return the line properties of an observer's mark, `size` points across; the model's lies above the others."""
    mark = OBSERVER_MARKS[observer]
    face, edge, width = ("none", mark.colour, 1.4) if mark.hollow else (mark.colour, "white", 1.0)
    order = 5 - 0.1 * list(OBSERVER_MARKS).index(observer)
    return {"ls": "", "marker": mark.shape, "ms": size, "mfc": face, "mec": edge, "mew": width, "zorder": order,
            "clip_on": False}  # fmt: skip


def square_panels(count: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with `count` square panels from 0 to 1, in rows of up to three."""
    columns = min(count, 3)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.4 + 5.0 * columns, 0.5 + 5.0 * rows), layout="constrained")
    panels: list[Axes] = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in panels[:count]:
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    for axes in panels[count:]:
        axes.remove()
    return figure, panels[:count]


def save(figure: Figure, path: Path, dpi: int) -> None:
    """Write a figure as PNG without program name or date: the same figure results in the same bytes."""
    content = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(content, format="png", dpi=dpi, metadata={"Software": None})
    atomic_io.write_bytes(path, content.getvalue())
