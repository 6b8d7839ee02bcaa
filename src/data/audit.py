"""Audit subsets before they are used: summarise them, reject what cannot be right, and warn of what is implausible.

Messages name files by their final path: <subset>/<dataset>/<kind>/<id>.png.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations, groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from src.data import annotation_alignment, custom_dataset, duplicate_detection, samples
from src.data.samples import Sample

COLUMNS = (  # sizes are width x height, the smallest and the largest by their number of pixels
    *("subset", "dataset", "images", "groups", "second_observers", "smallest", "largest"),
    *("vessel_fraction_mean", "vessel_fraction_min", "vessel_fraction_max"),
    *("fov_fraction_mean", "fov_fraction_min", "fov_fraction_max"),
)
VESSEL_FRACTION_RANGE = (0.01, 0.25)  # of the image; DRIVE, CHASE_DB1, STARE and HRF have .043 to .116
FOV_FRACTION_RANGE = (0.3, 1.0)  # of the image; DRIVE has .69, a disc that touches all four sides .785
MAX_PAIRS_NAMED = 3  # in the error message of a leak


class InspectedSample(NamedTuple):
    """Properties of an image: fractions of its pixels, its signature, and the alignment of its ground truth.

    `alignment` is None where the ground truth is empty in the field of view.
    """

    subset: str
    sample: Sample
    size: tuple[int, int]
    vessel_fraction: float
    fov_fraction: float
    second_observer: bool
    signature: np.ndarray
    alignment: annotation_alignment.Alignment | None

    def name(self, kind: str) -> str:
        """Return the final path of the file of one kind."""
        return _name(self.subset, self.sample, kind)


class AuditReport(NamedTuple):
    """Rows of the summary, the header first, and a message for each implausible image."""

    rows: list[tuple]
    warnings: list[str]


def audit_subsets(root: Path, subsets: Iterable[str]) -> AuditReport:
    """Audit the subsets at root/<subset>.

    Raises:
        ValueError: a ground truth is empty where it must not be, or it or its field of view is inverted; or two
            subsets contain copies of one image.
    """
    least = {"validation": 0}  # where data.validation_fraction is 0
    found = [(subset, sample) for subset in subsets for sample in samples.find(root / subset, least.get(subset, 1))]
    inspected = [inspect(subset, sample) for subset, sample in tqdm(found, "audit", unit="image")]
    check_no_leakage(inspected)
    warnings = [warning for one in inspected for warning in (*find_implausible(one), *find_misaligned(one))]
    return AuditReport(summary_rows(inspected), warnings)


def inspect(subset: str, sample: Sample) -> InspectedSample:
    """Read an image and its annotations, and measure them; ValueError as in `audit_subsets`."""
    image, truth, fov = samples.image(sample), samples.truth(sample), samples.fov(sample)
    name = _name(subset, sample, "truth")
    if subset != "test" and not truth.any():
        raise ValueError(f"{name}: expected vessels to learn from, got an empty annotation")
    custom_dataset.check_not_inverted(Path(name), truth, fov)
    return InspectedSample(
        subset,
        sample,
        image.shape[:2],
        float(truth.mean()),
        float(fov.mean()),
        sample.path("second_observer").exists(),
        duplicate_detection.signature(image, fov),
        annotation_alignment.measure_alignment(image, truth, fov),
    )


def find_implausible(one: InspectedSample) -> Iterator[str]:
    """Yield a message for each fraction of an image outside the range of public data sets."""
    for kind, thing, fraction, (least, most) in (
        ("truth", "vessels", one.vessel_fraction, VESSEL_FRACTION_RANGE),
        ("fov", "a field of view", one.fov_fraction, FOV_FRACTION_RANGE),
    ):
        if not least <= fraction <= most:
            yield f"{one.name(kind)}: expected {thing} in {least:.0%} to {most:.0%} of the image, got {fraction:.2%}"


def find_misaligned(one: InspectedSample) -> Iterator[str]:
    """Yield a message for a ground truth that is not on the vessels of its image."""
    fit = one.alignment
    if fit is None or fit.is_good():
        return
    expected = f"{one.name('truth')}: expected an annotation of vessels, which are dark in the image, got one"
    if fit.best < annotation_alignment.MIN_CONTRAST:
        yield f"{expected} that fits nowhere nearby (flipped, rotated, or of another image?)"
    else:
        yield f"{expected} that fits better {fit.right:+.0f} pixels to the right and {fit.down:+.0f} down"


def summary_rows(inspected: Iterable[InspectedSample]) -> list[tuple]:
    """Summarise each subset and data set in a row, in the order of the images; the header comes first."""
    parts = groupby(inspected, lambda one: (one.subset, one.sample.dataset))
    return [COLUMNS, *((*key, *_summary(list(part))) for key, part in parts)]


def check_no_leakage(inspected: Iterable[InspectedSample]) -> None:
    """Raise ValueError where two subsets contain copies of one image; it names the most similar pairs."""
    parts = {subset: list(part) for subset, part in groupby(inspected, lambda one: one.subset)}
    leaks = sorted((leak for pair in combinations(parts.values(), 2) for leak in _leaks(*pair)), reverse=True)
    if leaks:
        named = "; ".join(
            f"{a} and {b} are copies of one image (similarity {value:.2f})" for value, a, b in leaks[:MAX_PAIRS_NAMED]
        )
        raise ValueError(
            f"{named}; {len(leaks)} such pair(s) in all: put images of one eye into one group (groups.csv), or "
            "remove one of the two"
        )


def _leaks(first: Sequence[InspectedSample], second: Sequence[InspectedSample]) -> Iterator[tuple[float, str, str]]:
    """Yield similarity and both names of each pair of copies."""
    values = duplicate_detection.similarity(*(np.stack([one.signature for one in part]) for part in (first, second)))
    for i, j in np.argwhere(values > duplicate_detection.COPY_SIMILARITY):
        yield float(values[i, j]), first[i].name("images"), second[j].name("images")


def _summary(part: Sequence[InspectedSample]) -> tuple:
    """Return the columns of a row from `images` on."""
    sizes = sorted((height * width, f"{width}x{height}") for height, width in (one.size for one in part))
    fractions = ([one.vessel_fraction for one in part], [one.fov_fraction for one in part])
    return (
        len(part),
        len({one.sample.group for one in part}),
        sum(one.second_observer for one in part),
        sizes[0][1],
        sizes[-1][1],
        *(f"{value:.6f}" for values in fractions for value in (sum(values) / len(part), min(values), max(values))),
    )


def _name(subset: str, sample: Sample, kind: str) -> str:
    """Return the final path of the file of one kind, whatever folder it is in now."""
    return f"{subset}/{sample.dataset}/{kind}/{sample.id}.png"
