"""Ablation of the generator of synthetic images: python -m experiments.ablation_synthetic DATA [PART ...].

DATA is a folder of real images with ground truth to develop on, as stage download writes it, such as data/raw/train
with DRIVE's training images; test images have no place here. For each part of the generator, synthetic images are
generated without it (random numbers shift, so that most images differ in more than the part). The compact U-Net is
trained on these alone and scored on DATA, at the threshold that is best on synthetic images of the same kind.
Differences are without minus with the part, paired by image; the row of another seed shows how much of them is chance.
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

from experiments import short_training
from experiments.result_writer import RESULTS, ResultWriter, difference_columns, difference_values
from experiments.short_training import BATCH_SIZE, LOSS, SEED, TrainingPlan, compact_unet
from src.data import samples
from src.data.entries import synthetic_entries
from src.data.subset_writer import write_subsets
from src.metrics import probability_metrics
from src.models import tensorflow_setup
from src.params import Params, load_params
from src.synthetic import background, generator, lesions, vessel_rendering

HELD_OUT = 16  # synthetic images, for the threshold
NOTHING = "nothing"
OTHER_SEED = "nothing (another seed)"
Change = tuple[ModuleType, str, object]
PARTS: dict[str, tuple[Change, ...]] = {
    OTHER_SEED: (),
    "small vessels apart from the vascular tree": ((generator, "LARGE_VESSEL_FRACTION", (1.0, 1.0)),),
    "an observer's annotation style": (
        (vessel_rendering, "LABEL_MARGIN", 0.0),
        (vessel_rendering, "MIN_LABELLED_DARKNESS", 0.0),
    ),
    "central vessel reflex": ((vessel_rendering, "MIN_REFLEX_VESSEL_WIDTH", np.inf),),
    "lesions": ((lesions, "LESION_FRACTION", 0.0),),
    "choroidal vessels": ((background, "TESSELLATED_FRACTION", 0.0),),
    "background texture": ((background, "TEXTURE", tuple((size, 0.0) for size, _ in background.TEXTURE)),),
    "colours of other cameras": ((background, "CAMERAS", background.CAMERAS[:1]),),
    "vignetting and uneven illumination": (
        (generator, "VIGNETTING", (0.0, 0.0)),
        (generator, "ILLUMINATION_PATCHES", (0.0, 0.0, 0.0)),
    ),
    "uneven coloured illumination": ((generator, "COLOURED_PATCHES", (0.0, 0.0, 0.0)),),
    "stray light at the border of the FOV": (
        (generator, "STRAY_LIGHT", (0.0, 0.0)),
        (generator, "APERTURE_SHIFT", (0.0, 0.0)),
        (generator, "COLOUR_FRINGE", (0.0, 0.0)),
    ),
    "sharpening, noise and JPEG compression": (
        (generator, "SHARPENING", (0.0, 0.0)),
        (generator, "NOISE", (0.0, 0.0)),
        (generator, "JPEG_QUALITY", (100, 101)),
    ),
}
COLUMNS = (
    *("removed", "n_images", "mean_f1", *difference_columns("f1")),
    *("mean_auc_roc", *difference_columns("auc_roc")),
)


class Scores(NamedTuple):
    """Scores of N real images: F1 at the threshold of synthetic images (N,), AUC-ROC (N,), patient (N,)."""

    f1: np.ndarray
    auc_roc: np.ndarray
    groups: np.ndarray


def generate_without(part: str, load: Callable[[], samples.LabelledImage]) -> samples.LabelledImage:
    """Generate the synthetic image that `load` returns without one part of the generator."""
    with ExitStack() as stack:
        for module, name, value in PARTS.get(part, ()):
            stack.enter_context(mock.patch.object(module, name, value))
        return load()


def score(part: str, n_images: int, steps: int, real: Path, params: Params) -> Scores:
    """Generate `n_images` synthetic images without a part, train on them, score on the real images."""
    section, seed = params.phantom, SEED + (part == OTHER_SEED)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        complete = synthetic_entries(n_images + HELD_OUT, 1, section.height, section.width, seed).train
        entries = [entry._replace(load=partial(generate_without, part, entry.load)) for entry in complete]
        write_subsets(folder, {"validation": entries[:HELD_OUT], "train": entries[HELD_OUT:]})
        data = short_training.augment_subset(folder / "train", folder, steps * BATCH_SIZE, params)
        build = partial(compact_unet, params)
        network, _ = short_training.fit(build, LOSS, [data], TrainingPlan(steps, seed=seed))
        synthetic = short_training.predict(network, folder / "validation", params)
    results = short_training.predict(network, real, params)
    threshold = probability_metrics.best_threshold(synthetic.pooled)
    return Scores(results.f1(threshold), results.auc_roc(), results.groups)


def main() -> None:
    """Write a row for each part as its training ends."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablation_synthetic", description=__doc__.splitlines()[0]
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of: {'; '.join(PARTS)}")
    parser.add_argument("--n-images", type=int, default=120, help="synthetic images to train on (default: 120)")
    parser.add_argument("--steps", type=int, default=250, help="of each training, of 8 patches (default: 250)")
    parser.add_argument("--results", type=Path, default=RESULTS / "ablation_synthetic.csv", help="CSV to write")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"expected some of {'; '.join(PARTS)}, got {'; '.join(sorted(unknown))}")
    short_training.find_real_images(arguments.data)
    params = load_params()
    tensorflow_setup.configure(params.train.cpu_threads, SEED)
    writer = ResultWriter(arguments.results, COLUMNS)
    complete = None
    for part in (NOTHING, *(arguments.parts or PARTS)):
        scores = score(part, arguments.n_images, arguments.steps, arguments.data, params)
        values = {"mean_f1": float(scores.f1.mean()), "mean_auc_roc": float(scores.auc_roc.mean())}
        if complete:
            for name in ("f1", "auc_roc"):
                mine, base = getattr(scores, name), getattr(complete, name)
                values |= difference_values(name, short_training.paired_difference(mine, base, complete.groups))
        complete = complete or scores
        writer.add(removed=part, n_images=len(scores.f1), **values)


if __name__ == "__main__":
    main()
