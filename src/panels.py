"""The example pictures: a test image beside what the network made of it, and the choice of which to show.

Scores are taken in the field of view (FOV).
"""

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from src.colours import GREY, ORANGE
from src.pictures import OUTCOMES, OUTSIDE, Example, overlay, shrink
from src.plots import f1_by_image, number, styled

FRAME = ORANGE  # of the detail
VIEWS = ("photograph", "truth", "probability", "overlay")
FOV_WIDTH = 540  # pixels, width of the FOV in whose pixels the detail is measured
LARGEST = 480  # pixels, the longer side of a picture in an example: keeps the file small


@styled
def example(picture: Example, zoom: int, title: str) -> Figure:
    """Photograph, truth, probability and overlay of one test image, and a detail of each.

    The detail is the square with the most errors; of equals, the uppermost, then the leftmost. Its side is `zoom`
    pixels of a photograph whose FOV is FOV_WIDTH pixels wide.
    """
    side = detail_side(picture.fov, zoom)
    rows, columns = worst_window((picture.truth != picture.predicted) & picture.fov, side)
    detail = Example(*(array[rows, columns] for array in picture))
    height, width = picture.truth.shape
    figure = Figure(figsize=(13.6, 1.2 + 3.35 * (height / width + 1)), layout="constrained")
    whole, enlarged = figure.subplots(2, 4, gridspec_kw={"height_ratios": [height / width, 1]})
    for axes, drawn, name in zip(whole, _drawn(picture), VIEWS, strict=True):
        axes.imshow(shrink(drawn, LARGEST), extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=1)
        axes.add_patch(_outline(rows, columns))
        axes.spines[:].set_visible(False)
        axes.set_title(name)
    for axes, part in zip(enlarged, _drawn(detail), strict=True):
        axes.imshow(shrink(part, LARGEST), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=True, color=FRAME, lw=1.6)
    for axes in (*whole, *enlarged):
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    colours = {**OUTCOMES, "outside the field of view": OUTSIDE}
    handles = [Patch(fc=colour, ec=GREY, lw=0.5, label=name) for name, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=11)
    figure.suptitle(title, fontsize=13)
    return figure


def best_median_worst(per_image: pd.DataFrame, dataset: str) -> dict[str, str]:
    """The ids of the images with the best, median and worst F1 of the model in the FOV; of equals, the first id.

    Images without an F1 do not count; where no image has one, the answer is empty. The median of an even number
    is the better of the two in the middle.
    """
    f1 = f1_by_image(per_image, dataset, "model").dropna().sort_index().sort_values(ascending=False, kind="stable")
    if f1.empty:
        return {}
    ids = list(f1.index)
    return {"best": ids[0], "median": ids[(len(ids) - 1) // 2], "worst": ids[-1]}


def example_title(per_image: pd.DataFrame, dataset: str, rank: str, id_: str) -> str:
    """What an example shows: data set, image, rank among how many, F1 of the model and of the second observer."""
    f1, observer = f1_by_image(per_image, dataset, "model"), f1_by_image(per_image, dataset, "second_observer")
    title = f"{dataset} {id_}: {rank} of {f1.notna().sum()} test images, F1 {number(f1[id_])} in the field of view"
    return title if id_ not in observer else f"{title} (second observer {number(observer[id_])})"


def detail_side(fov: np.ndarray, zoom: int) -> int:
    """Pixels of a photograph with this (H, W) bool FOV that are `zoom` pixels of one with an FOV FOV_WIDTH wide.

    The larger side of the FOV's bounding box is its width, as in `preprocess`; at least 1.

    >>> detail_side(np.ones((900, 1080), bool), 160)
    320
    """
    _, _, width, height = cv2.boundingRect(fov.astype(np.uint8))
    return max(1, round(zoom * max(width, height) / FOV_WIDTH))


def worst_window(errors: np.ndarray, size: int) -> tuple[slice, slice]:
    """Rows and columns of the square of `size` pixels (or less in a smaller picture) with the most errors.

    >>> worst_window(np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool), 2)
    (slice(0, 2, None), slice(2, 4, None))
    """
    height, width = (min(size, side) for side in errors.shape)
    sums = cv2.integral(errors.astype(np.uint8))
    inside = sums[height:, width:] - sums[:-height, width:] - sums[height:, :-width] + sums[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(np.argmax(inside), inside.shape))
    return slice(top, top + height), slice(left, left + width)


def _outline(rows: slice, columns: slice) -> Rectangle:
    """The frame of a window."""
    size = columns.stop - columns.start, rows.stop - rows.start
    return Rectangle((columns.start, rows.start), *size, fill=False, ec=FRAME, lw=1.6, clip_on=False)


def _drawn(picture: Example) -> tuple[np.ndarray, ...]:
    """The four pictures of a row in an example."""
    return picture.image, picture.truth.astype(np.float32), picture.probability, overlay(picture)
