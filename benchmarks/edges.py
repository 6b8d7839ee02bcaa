"""How far scores are a matter of single pixels at the edges of vessels: python -m benchmarks.edges DATA.

DATA is a folder of photographs as stage download writes it (`data/raw/test`). In the field of view, against what the
first observer drew: the same drawing moved or thickened by one pixel, the second observer, and the shipped network at
the threshold it was shipped with. Beside F1, pooled over the photographs, stands which share of the false pixels
touches a drawn one, and which share of the missed pixels touches a found one, at a side or a corner.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from benchmarks import short_training
from src import counts, exported, samples

SHIPPED = Path("models/compact.onnx")
AROUND = np.ones((3, 3), bool)
PIXEL = np.ones((2, 2), bool)  # a dilation or erosion with it changes each vessel's width by one pixel
Drawing = Callable[[samples.Sample], np.ndarray | None]


class Edges(NamedTuple):
    """Pixels in the field of view, and how many of the false touch a drawn one, of the missed a found one."""

    counts: counts.Counts
    false_touching: int
    missed_touching: int


def compare(truth: np.ndarray, found: np.ndarray, fov: np.ndarray) -> Edges:
    """What is false and missed, and how much of it is at an edge; all three (H, W) bool."""
    truth, found = truth & fov, found & fov
    false_touching = found & ~truth & ndimage.binary_dilation(truth, AROUND)
    missed_touching = truth & ~found & ndimage.binary_dilation(found, AROUND)
    touching = (int(np.count_nonzero(part)) for part in (false_touching, missed_touching))
    return Edges(counts.count(truth, found, fov), *touching)


def moved(truth: np.ndarray) -> np.ndarray:
    """The drawing (H, W) one pixel further right."""
    return np.pad(truth, ((0, 0), (1, 0)))[:, :-1]


def wider(truth: np.ndarray) -> np.ndarray:
    """The drawing (H, W) with every vessel one pixel wider."""
    return ndimage.binary_dilation(truth, PIXEL)


def narrower(truth: np.ndarray) -> np.ndarray:
    """The drawing (H, W) with every vessel one pixel narrower."""
    return ndimage.binary_erosion(truth, PIXEL, border_value=1)


def by_network(network: exported.Exported, sample: samples.Sample) -> np.ndarray:
    """The vessels (H, W) that a packed network finds."""
    return network.vessels(network.maps(samples.image(sample), samples.fov(sample)).probability)


def by_first_observer(change: Callable[[np.ndarray], np.ndarray], sample: samples.Sample) -> np.ndarray:
    """What the first observer drew (H, W), changed."""
    return change(samples.truth(sample))


def drawings(network: exported.Exported) -> Iterator[tuple[str, Drawing]]:
    """Each drawing that is compared, by name."""
    for name, change in (("moved by", moved), ("wider by", wider), ("narrower by", narrower)):
        yield f"first observer, {name} one pixel", partial(by_first_observer, change)
    yield "second observer", samples.second_observer
    yield f"`{SHIPPED}`", partial(by_network, network)


def row(name: str, drawing: Drawing, found: Iterable[samples.Sample]) -> str | None:
    """A row of the table; None where there is no such drawing."""
    pairs = ((sample, drawing(sample)) for sample in found)
    each = [compare(samples.truth(s), drawn, samples.fov(s)) for s, drawn in pairs if drawn is not None]
    if not each:
        return None
    pooled = counts.add([edges.counts for edges in each])
    false, missed = (sum(column) for column in list(zip(*each, strict=True))[1:])
    shares = (f"{part / whole:.0%}" if whole else "-" for part, whole in ((false, pooled.fp), (missed, pooled.fn)))
    return f"| {name} | {f'{counts.dice(pooled):.4f}'.removeprefix('0')} | {' | '.join(shares)} |"


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.edges", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    found = short_training.photographs(parser.parse_args().data)
    print("| drawing | F1 | false that touch | missed that touch |\n| --- | --- | --- | --- |")
    for name, drawing in drawings(exported.Exported(SHIPPED)):
        if line := row(name, drawing, tqdm(found, desc=name, unit="photograph", leave=False)):
            tqdm.write(line)


if __name__ == "__main__":
    main()
