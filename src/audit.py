"""What lies on disk before it is used: a table of the subsets, refusal of what cannot be, warning of what is odd.

Files are named as they will be called: <subset>/<dataset>/<kind>/<id>.png.
"""

from collections.abc import Iterable, Iterator
from itertools import combinations, groupby
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from src import alignment, folder, likeness, samples
from src.samples import Sample

COLUMNS = (  # sizes are width x height, the smallest and the largest by their number of pixels
    *("subset", "dataset", "images", "groups", "second_observers", "smallest", "largest"),
    *("vessel_share_mean", "vessel_share_min", "vessel_share_max", "fov_share_mean", "fov_share_min", "fov_share_max"),
)
VESSEL_SHARE = (0.01, 0.25)  # of the picture; DRIVE, CHASE_DB1, STARE and HRF have .043 to .116
FOV_SHARE = (0.3, 1.0)  # of the picture; DRIVE has .69, a disc that touches all four sides .785
NAMED = 3  # pairs that the error of a leak names


class Inspected(NamedTuple):
    """What the audit keeps of a photograph: shares of the picture, its signature, see `likeness`, and how truth fits.

    `fit` is None where the truth is empty.
    """

    subset: str
    sample: Sample
    size: tuple[int, int]
    vessel_share: float
    fov_share: float
    second_observer: bool
    signature: np.ndarray
    fit: alignment.Fit | None


class Report(NamedTuple):
    """Rows of the table, the header first, and a sentence for each thing that is odd."""

    rows: list[tuple]
    warnings: list[str]


def run(root: Path, subsets: Iterable[str]) -> Report:
    """The audit of the subsets that lie at root/<subset>.

    Raises:
        ValueError: an id stands twice; a drawing is not in 0 and 255, not of the size of the image, empty where it
            must not be, or inverted; or two subsets show the same eye.
    """
    least = {"validation": 0}  # where data.validation is 0
    found = [(subset, sample) for subset in subsets for sample in samples.find(root / subset, least.get(subset, 1))]
    refuse_repeated(found)
    inspected = [inspect(subset, sample) for subset, sample in found]
    refuse_leaks(inspected)
    return Report(table(inspected), [said for one in inspected for said in (*implausible(one), *misplaced(one))])


def refuse_repeated(found: Iterable[tuple[str, Sample]]) -> None:
    """ValueError where a data set has an id twice, within a subset or in two."""
    first: dict[tuple[str, str], str] = {}
    for subset, sample in found:
        key = (sample.dataset, sample.id)
        if key in first:
            raise ValueError(
                f"{_name(subset, sample, 'images')}: expected an id once in a data set, "
                f"got {sample.id} of {sample.dataset} in {first[key]} as well"
            )
        first[key] = subset


def inspect(subset: str, sample: Sample) -> Inspected:
    """Read the pictures of a photograph; ValueError names the one that cannot be right (see `run`)."""
    image = samples.image(sample)
    truth, fov = (_drawing(subset, sample, kind, image.shape[:2]) for kind in ("truth", "fov"))
    second = sample.path("second_observer").exists()
    if second:
        _drawing(subset, sample, "second_observer", image.shape[:2])
    if not fov.any():
        raise ValueError(f"{_name(subset, sample, 'fov')}: expected a field of view, got an empty picture")
    if subset == "train" and not truth.any():
        raise ValueError(f"{_name(subset, sample, 'truth')}: expected vessels to train on, got an empty picture")
    folder.refuse_inverted(Path(_name(subset, sample, "truth")), truth, fov)
    shares = float(truth.mean()), float(fov.mean())
    known = likeness.signature(image, fov), alignment.fit(image, truth, fov)
    return Inspected(subset, sample, image.shape[:2], *shares, second, *known)


def implausible(one: Inspected) -> Iterator[str]:
    """A sentence for each share of a photograph outside the range seen in public data sets."""
    for kind, thing, share, (least, most) in (
        ("truth", "vessels", one.vessel_share, VESSEL_SHARE),
        ("fov", "a field of view", one.fov_share, FOV_SHARE),
    ):
        if not least <= share <= most:
            name = _name(one.subset, one.sample, kind)
            yield f"{name}: expected {thing} in {least:.0%} to {most:.0%} of the picture, got {share:.2%}"


def misplaced(one: Inspected) -> Iterator[str]:
    """A sentence for a truth that does not lie on the vessels of its photograph."""
    fit = one.fit
    if fit is None or fit.is_good():
        return
    expected = f"{_name(one.subset, one.sample, 'truth')}: expected vessels drawn where the photograph is dark, got a"
    if fit.best < alignment.LEAST_CONTRAST:
        yield f"{expected} drawing that fits nowhere nearby (flipped, turned, or of another photograph?)"
    else:
        yield f"{expected} drawing that fits better {fit.right:+.0f} pixels to the right and {fit.down:+.0f} down"


def table(inspected: Iterable[Inspected]) -> list[tuple]:
    """The header and a row for each subset and data set, in the order of the photographs."""
    parts = groupby(inspected, lambda one: (one.subset, one.sample.dataset))
    return [COLUMNS, *((*key, *_summary(list(part))) for key, part in parts)]


def refuse_leaks(inspected: Iterable[Inspected]) -> None:
    """ValueError where two subsets show the same eye; it names the most similar pairs."""
    parts = {subset: list(part) for subset, part in groupby(inspected, lambda one: one.subset)}
    leaks = sorted((leak for pair in combinations(parts.values(), 2) for leak in _leaks(*pair)), reverse=True)
    if leaks:
        named = "; ".join(f"{a} and {b} show the same eye (similarity {value:.2f})" for value, a, b in leaks[:NAMED])
        raise ValueError(
            f"{named}; {len(leaks)} such pair(s) in all: put photographs of one eye into one group (groups.csv), or "
            "remove one of the two"
        )


def _leaks(first: list[Inspected], second: list[Inspected]) -> Iterator[tuple[float, str, str]]:
    """Similarity and both names of each pair that shows the same eye."""
    values = likeness.similarity(*(np.stack([one.signature for one in part]) for part in (first, second)))
    for i, j in np.argwhere(values > likeness.SAME_EYE):
        a, b = (_name(one.subset, one.sample, "images") for one in (first[i], second[j]))
        yield float(values[i, j]), a, b


def _drawing(subset: str, sample: Sample, kind: str, expected: tuple[int, int]) -> np.ndarray:
    """A drawing of the photograph, (H, W) bool, of the expected size."""
    name = _name(subset, sample, kind)
    picture = cv2.imdecode(np.fromfile(sample.path(kind), np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 2 or not np.isin(picture, (0, 255)).all():
        raise ValueError(f"{name}: expected a grey picture of 0 and 255, got {_content(picture)}")
    if picture.shape != expected:
        sizes = ("{}x{}".format(*shape) for shape in (expected, picture.shape))
        raise ValueError("{}: expected {} like the image, got {}".format(name, *sizes))
    return picture > 0


def _content(picture: np.ndarray | None) -> str:
    """What a picture that is no drawing holds."""
    if picture is None:
        return "one that cannot be decoded"
    if picture.ndim != 2:
        return f"one of {picture.shape[2]} channels"
    levels = np.unique(picture)
    return f"one with {len(levels)} levels from {levels[0]} to {levels[-1]}"


def _summary(part: list[Inspected]) -> tuple:
    """The columns of a row from `images` on."""
    sizes = sorted((height * width, f"{width}x{height}") for height, width in (one.size for one in part))
    shares = ([one.vessel_share for one in part], [one.fov_share for one in part])
    return (
        len(part),
        len({one.sample.group for one in part}),
        sum(one.second_observer for one in part),
        sizes[0][1],
        sizes[-1][1],
        *(f"{value:.6f}" for values in shares for value in (sum(values) / len(part), min(values), max(values))),
    )


def _name(subset: str, sample: Sample, kind: str) -> str:
    """The file of one kind as it will be called, whatever folder it is in now."""
    return f"{subset}/{sample.dataset}/{kind}/{sample.id}.png"
