"""Example figures: a test image beside ground truth, prediction and overlay, and the choice of the images shown.

Scores are of the field of view (FOV).
"""

import cv2
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from src.common import image_geometry
from src.common.markdown import number
from src.common.palette import GREY, ORANGE
from src.common.reference_scale import REFERENCE_FOV_DIAMETER
from src.reporting.figure_style import figure_style
from src.reporting.overlays import OVERLAY_COLOURS, PredictedImage, overlay, shrink
from src.reporting.score_figures import f1_by_image

FRAME_COLOUR = ORANGE  # of the enlarged detail
PANELS = ("image", "ground truth", "probability", "overlay")
MAX_SIDE = 480  # pixels of the longer side of a panel: keeps the file small


@figure_style
def example_figure(example: PredictedImage, detail_size: int, title: str) -> Figure:
    """Image, ground truth, probability and overlay of one test image, and an enlarged detail of each.

    The detail is the square with the most errors; of equal ones the uppermost, then the leftmost. Its side is
    `detail_size` pixels of an image whose FOV is REFERENCE_FOV_DIAMETER pixels wide.
    """
    side = detail_side(example.fov, detail_size)
    rows, columns = worst_detail((example.truth != example.predicted) & example.fov, side)
    height, width = example.truth.shape
    figure = Figure(figsize=(13.6, 1.2 + 3.35 * (height / width + 1)), layout="constrained")
    whole, enlarged = figure.subplots(2, 4, gridspec_kw={"height_ratios": [height / width, 1]})
    for axes, picture, name in zip(whole, _panels(example), PANELS, strict=True):
        axes.imshow(shrink(picture, MAX_SIDE), extent=(0, width, height, 0), cmap="gray", vmin=0, vmax=1)
        axes.add_patch(_frame(rows, columns))
        axes.spines[:].set_visible(False)
        axes.set_title(name)
    for axes, picture in zip(enlarged, _panels(example.crop(rows, columns)), strict=True):
        axes.imshow(shrink(picture, MAX_SIDE), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.spines[:].set(visible=True, color=FRAME_COLOUR, lw=1.6)
    for axes in (*whole, *enlarged):
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
    handles = [Patch(fc=colour, ec=GREY, lw=0.5, label=name) for name, colour in OVERLAY_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), fontsize=11)
    figure.suptitle(title, fontsize=13)
    return figure


def best_median_worst(per_image: pd.DataFrame, dataset: str) -> dict[str, str]:
    """Return the ids of the images with the best, median and worst F1 of the model in the FOV; of equal ones the first.

    Images without an F1 do not count; empty where no image has one. The median of an even number is the better of
    the two central ones.
    """
    f1 = f1_by_image(per_image, dataset, "model").dropna().sort_index().sort_values(ascending=False, kind="stable")
    if f1.empty:
        return {}
    ids = [str(id_) for id_ in f1.index]
    return {"best": ids[0], "median": ids[(len(ids) - 1) // 2], "worst": ids[-1]}


def example_title(per_image: pd.DataFrame, dataset: str, rank: str, id_: str) -> str:
    """Return the title of an example: data set, image, rank among how many, F1 of the model and second observer."""
    f1, observer = f1_by_image(per_image, dataset, "model"), f1_by_image(per_image, dataset, "second_observer")
    title = f"{dataset} {id_}: {rank} of {f1.notna().sum()} test images, F1 {number(f1[id_], 3)} in the field of view"
    return title if id_ not in observer else f"{title} (second observer {number(observer[id_], 3)})"


def detail_side(fov: np.ndarray, detail_size: int) -> int:
    """Scale `detail_size` from an FOV of REFERENCE_FOV_DIAMETER pixels to the FOV (H, W) bool of an image; at least 1.

    >>> detail_side(np.ones((900, 1080), bool), 160)
    320
    """
    return max(1, round(detail_size * image_geometry.fov_diameter(fov) / REFERENCE_FOV_DIAMETER))


def worst_detail(errors: np.ndarray, size: int) -> tuple[slice, slice]:
    """Return rows and columns of the square of `size` pixels (at most the image) with the most errors, (H, W) bool.

    >>> worst_detail(np.array([[0, 0, 0, 0], [0, 0, 1, 1]], bool), 2)
    (slice(0, 2, None), slice(2, 4, None))
    """
    height, width = (min(size, side) for side in errors.shape)
    integral = cv2.integral(errors.astype(np.uint8))
    sums = integral[height:, width:] - integral[:-height, width:] - integral[height:, :-width]
    sums = sums + integral[:-height, :-width]
    top, left = (int(i) for i in np.unravel_index(np.argmax(sums), sums.shape))
    return slice(top, top + height), slice(left, left + width)


def _frame(rows: slice, columns: slice) -> Rectangle:
    """Return the outline of the detail."""
    size = columns.stop - columns.start, rows.stop - rows.start
    return Rectangle((columns.start, rows.start), *size, fill=False, ec=FRAME_COLOUR, lw=1.6, clip_on=False)


def _panels(example: PredictedImage) -> tuple[np.ndarray, ...]:
    """Return the pictures of PANELS."""
    return example.image, example.truth.astype(np.float32), example.probability, overlay(example)
