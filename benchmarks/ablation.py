"""What each part of the drawn eyes is worth on real ones: python -m benchmarks.ablation DATA OUT.png [PART ...].

DATA is a folder of labelled photographs to develop on, as stage download writes it, such as data/raw/train with DRIVE's
training images; test photographs have no place here. For each part, phantoms are drawn without it (as the draws of
chance shift, they are other eyes in most); the compact network learns from these alone and is scored on DATA at the
threshold that is best on phantoms of the same kind. Differences are without less with, paired, image by image; the
row of another seed shows how much of them is chance.
"""

import argparse
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple
from unittest import mock

import numpy as np
from matplotlib.figure import Figure

from benchmarks import short_training
from benchmarks.short_training import LOSS, SEED, Plan, compact
from src import backend, download, fundus, intervals, metrics, phantom, samples, strokes
from src.colours import BLUE, GREY
from src.params import Params, load_params

HELD_OUT = 16  # phantoms, for the threshold
AGAIN = "nothing, another seed"
Change = tuple[ModuleType, str, object]
PARTS: dict[str, tuple[Change, ...]] = {
    AGAIN: (),
    "twigs apart from the tree": ((phantom, "WIDE", (1.0, 1.0)),),
    "labels like an observer's": ((strokes, "LABEL_MARGIN", 0.0), (strokes, "LABELLED", 0.0)),
    "reflex of vessels": ((strokes, "REFLEX_LEAST", np.inf),),
    "lesions": ((fundus, "LESIONS", 0.0),),
    "choroidal vessels": ((fundus, "TESSELLATED", 0.0),),
    "texture of the ground": ((fundus, "TEXTURE", tuple((size, 0.0) for size, _ in fundus.TEXTURE)),),
    "colours of other cameras": ((fundus, "CAMERAS", fundus.CAMERAS[:1]),),
    "vignetting, patches of light": ((phantom, "VIGNETTING", (0.0, 0.0)), (phantom, "PATCHES", (0.0, 0.0, 0.0))),
    "patches of coloured light": ((phantom, "COLOURED", (0.0, 0.0, 0.0)),),
    "light at the rim": tuple((phantom, name, (0.0, 0.0)) for name in ("STRAY_LIGHT", "APERTURE", "FRINGE")),
    "sharpening, noise, JPEG": (
        (phantom, "SHARPENING", (0.0, 0.0)),
        (phantom, "NOISE", (0.0, 0.0)),
        (phantom, "JPEG", (100, 101)),
    ),
}


class Scores(NamedTuple):
    """Of N photographs: F1 at the threshold of phantoms (N,), AUC-ROC (N,), person (N,)."""

    f1: np.ndarray
    auc_roc: np.ndarray
    groups: np.ndarray


def without(part: str | None, load: Callable[[], samples.Eye]) -> samples.Eye:
    """The phantom that `load` draws, without one part."""
    with ExitStack() as stack:
        for module, name, value in PARTS.get(part, ()):
            stack.enter_context(mock.patch.object(module, name, value))
        return load()


def score(part: str | None, count: int, steps: int, real: Path, params: Params) -> Scores:
    """Draw `count` phantoms without a part, train on them, score on the real photographs."""
    section, seed = params.phantom, SEED + (part == AGAIN)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        drawn = download.phantoms(count + HELD_OUT, 1, section.height, section.width, seed).train
        entries = [entry._replace(load=partial(without, part, entry.load)) for entry in drawn]
        download.write(folder, {"validation": entries[:HELD_OUT], "train": entries[HELD_OUT:]})
        data = short_training.augmented(folder / "train", folder, steps * short_training.BATCH, params)
        network, _ = short_training.fit(partial(compact, params), LOSS, [data], Plan(steps, seed=seed))
        threshold = metrics.best_threshold(short_training.predict(network, folder / "validation", params).pooled)
    results = short_training.predict(network, real, params)
    return Scores(results.f1(threshold), results.auc_roc(), results.groups)


def plot(rows: dict[str, intervals.Difference]) -> Figure:
    """A bar a part: what F1 loses or gains without it."""
    figure = Figure(figsize=(7, 0.35 * len(rows) + 1), layout="constrained")
    axes = figure.subplots()
    for place, (part, d) in enumerate(rows.items()):
        around = [[d.mean - d.low], [d.high - d.mean]]
        axes.barh(place, d.mean, xerr=around, color=GREY if part == AGAIN else BLUE, capsize=3)
    axes.set_yticks(range(len(rows)), [f"without {part}" for part in rows])
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel("difference of mean F1, 95 % interval")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def main() -> None:
    """Print a row of a Markdown table for each part as it ends, then draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {'; '.join(PARTS)}")
    parser.add_argument("--phantoms", type=int, default=120, help="to train on; default 120")
    parser.add_argument("--steps", type=int, default=250, help="of each training, of 8 patches; default 250")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"expected some of {'; '.join(PARTS)}, got {'; '.join(sorted(unknown))}")
    short_training.photographs(given.data)
    params = load_params()
    backend.configure(params.train.threads, SEED)
    backend.set_precision(mixed_precision=True)
    print("| without | mean F1 | difference | mean AUC-ROC | difference |\n| --- | --- | --- | --- | --- |")
    whole = score(None, given.phantoms, given.steps, given.data, params)
    print(f"| - | {whole.f1.mean():.4f} | - | {whole.auc_roc.mean():.4f} | - |", flush=True)
    rows = {}
    for part in given.parts or PARTS:
        scores = score(part, given.phantoms, given.steps, given.data, params)
        cells = [part]
        for values, others in ((scores.f1, whole.f1), (scores.auc_roc, whole.auc_roc)):
            d = short_training.difference(values, others, whole.groups)
            rows.setdefault(part, d)
            cells += [f"{values.mean():.4f}", short_training.cell(d)]
        print(f"| {' | '.join(cells)} |", flush=True)
    plot(rows).savefig(given.out, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
