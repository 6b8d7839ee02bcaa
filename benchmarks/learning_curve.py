"""What drawn eyes save of labelled ones: python -m benchmarks.learning_curve TRAIN TEST MODEL OUT.png.

TRAIN and TEST are folders of photographs as stage download writes them (data/raw/train of a run with
`data.validation: 0`, data/raw/test); MODEL is the model.h5 of a run on phantoms alone. The compact network is trained
on 1, 2, 5, 10 and 20 photographs of TRAIN, for as many steps in three ways: from random weights; the same with phantoms
as half of every batch; from the weights of MODEL, whose own training comes on top. It is scored on TEST at probability
.5, as nothing is left to choose a threshold on. Differences to the first way are paired, image by image; with one
or two photographs, all is the mean over two choices of them.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from benchmarks import short_training
from benchmarks.short_training import LOSS, RATE, SEED, Plan, Results, compact
from src import backend, download, intervals, models, samples
from src.colours import BLUE, GREY, ORANGE, VERMILION
from src.counts import count, dice
from src.params import Params, load_params

SIZES = (1, 2, 5, 10, 20)  # photographs
FEW, CHOICES = 2, 2  # up to how many photographs the choice of them is repeated, and how often
PHANTOMS = 100  # mixed in
GENTLE = 1e-3  # largest learning rate from weights that are good already
THRESHOLD = 0.5
ALONE, MIXED, BEFORE = "photographs alone", "drawn eyes mixed in", "drawn eyes before"
COLOURS = {ALONE: VERMILION, MIXED: ORANGE, BEFORE: BLUE}


class Scores(NamedTuple):
    """F1 and AUC-ROC (N,) of N test photographs."""

    f1: np.ndarray
    auc_roc: np.ndarray


def scores(results: Results) -> Scores:
    """Those of one network."""
    return Scores(results.f1(THRESHOLD), results.auc_roc())


def mean(several: list[Scores]) -> Scores:
    """The mean over choices of training photographs."""
    return Scores(*np.mean(several, axis=0))


class Way(NamedTuple):
    """First weights (None: random), largest learning rate, and patches that are half of every batch."""

    weights: str | None
    rate: float
    beside: list[Path]


def learn(
    chosen: list[samples.Sample], ways: dict[str, Way], steps: int, test: Path, params: Params
) -> dict[str, Scores]:
    """Scores on the test photographs after training on the chosen ones in several ways."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        root = short_training.subset(chosen, Path(folder) / "train")
        data = short_training.augmented(root, Path(folder), steps * short_training.BATCH, params)
        for name, way in ways.items():
            make = partial(compact, params, way.weights)
            network, _ = short_training.fit(make, LOSS, [data, *way.beside], Plan(steps, way.rate))
            found[name] = scores(short_training.predict(network, test, params))
    return found


def draw_phantoms(folder: Path, variants: int, params: Params) -> Path:
    """Augmented patches of phantoms, below `folder`."""
    section = params.phantom
    drawn = download.phantoms(PHANTOMS, 1, section.height, section.width, section.seed)
    download.write(folder, {"train": drawn.train})
    return short_training.augmented(folder / "train", folder, variants, params)


def observer(test: Path) -> float:
    """Mean F1 of the second observer; NaN where there is none."""
    drawn = [(s, samples.second_observer(s)) for s in samples.find(test)]
    found = [dice(count(samples.truth(s), other, samples.fov(s))) for s, other in drawn if other is not None]
    return float(np.mean(found)) if found else float("nan")


def plot(curves: dict[int, dict[str, Scores]], drawn: Scores, human: float, groups: np.ndarray) -> Figure:
    """F1 against the number of labelled photographs, with intervals over test photographs."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, colour in COLOURS.items():
        found = [intervals.of_mean(ways[name].f1, groups, short_training.DRAWS, SEED) for ways in curves.values()]
        spread = np.abs([[i.mean - i.low, i.high - i.mean] for i in found]).T
        axes.errorbar(list(curves), [i.mean for i in found], spread, color=colour, marker="o", capsize=3, label=name)
    axes.axhline(float(drawn.f1.mean()), color=BLUE, linestyle=":", label="drawn eyes alone")
    if np.isfinite(human):
        axes.axhline(human, color=GREY, linestyle="--", label="second observer")
    axes.set_xscale("log")
    axes.set_xticks(list(curves), [str(size) for size in curves])
    axes.minorticks_off()
    axes.set(xlabel="labelled photographs that are trained on", ylabel="mean F1 in the field of view, threshold 0.5")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def cell(of: Scores) -> str:
    """F1 and AUC-ROC."""
    return f"{of.f1.mean():.4f} / {of.auc_roc.mean():.4f}"


def row(size: int, ways: dict[str, Scores], groups: np.ndarray) -> str:
    """A row of the table."""
    cells = [cell(ways[ALONE])]
    for name in (MIXED, BEFORE):
        gain = short_training.cell(short_training.difference(ways[name].f1, ways[ALONE].f1, groups))
        cells.append(f"{cell(ways[name])} | {gain}")
    return f"| {size} | {' | '.join(cells)} |"


def main() -> None:
    """Print a row of a Markdown table for each number of photographs as it ends, then draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning_curve", description=__doc__.splitlines()[0])
    for name in ("train", "test", "model", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=150, help="of each training, of 8 patches; default 150")
    given = parser.parse_args()
    params = load_params()
    backend.configure(params.train.threads, SEED)
    backend.set_precision(mixed_precision=True)
    photographs = short_training.photographs(given.train)
    short_training.photographs(given.test)
    if len(photographs) < max(SIZES):
        parser.error(f"{given.train}: expected {max(SIZES)} photographs or more, got {len(photographs)}")
    before = short_training.predict(models.load(given.model), given.test, params)
    print("| photographs | alone: F1 / AUC-ROC | mixed | difference of F1 | before | difference of F1 |")
    print(f"| --- | --- | --- | --- | --- | --- |\n| 0 | - | - | - | {cell(scores(before))} | - |", flush=True)
    curves = {}
    with tempfile.TemporaryDirectory() as folder:
        phantoms = draw_phantoms(Path(folder), given.steps * short_training.BATCH, params)
        ways = {ALONE: Way(None, RATE, []), MIXED: Way(None, RATE, [phantoms])}
        ways[BEFORE] = Way(str(given.model), GENTLE, [])
        for size in SIZES:
            several = []
            for choice in range(CHOICES if size <= FEW else 1):
                order = np.random.default_rng([SEED, choice]).permutation(len(photographs))
                chosen = [photographs[i] for i in order[:size]]
                several.append(learn(chosen, ways, given.steps, given.test, params))
            curves[size] = {name: mean([one[name] for one in several]) for name in COLOURS}
            print(row(size, curves[size], before.groups), flush=True)
    figure = plot(curves, scores(before), observer(given.test), before.groups)
    figure.savefig(given.out, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
