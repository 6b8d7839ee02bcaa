"""Train on all data sets but one, test on that one: python -m experiments.leave_one_dataset_out SET SET SET ...

SET is a name as in `data.train`. Each of CONFIGURATIONS trains the compact U-Net, from the weights of
models/synthetic_pretrained.h5, on the training images of the other sets, equally many patches of each in a batch. Some
training images of each set are held out: the threshold is that of the best mean over the sets of pooled F1 on them. The
test images are all images of the left-out set, or the official test images of DRIVE. All images are predicted at
several sizes, given by the diameter of their field of view; `540+720+1080` is the mean of the predictions at three, and
`weighted` that of three with the weights of `evaluate.scale_weighting`. `by field angle` is like it, at sizes in
proportion to the angle that the camera sees. `limited` is `weighted` at smaller sizes for images of low
resolution (`evaluate.min_scale_factor`). Scores are in the field of view, at the native size.

One configuration trains on synthetic images as well, as many patches of them in a batch as of each set. Another one
needs the networks of its parent, which have not seen the left-out set either: it trains on the images of --unlabelled
as well, whose vessels are those that the parent finds (self-training).

Data and networks are kept in a folder of --work that is named by a hash of the code, parameters, sets and options, so
that an interrupted run goes on where it was.
"""

import argparse
import functools
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from experiments import pseudo_labels, short_training
from experiments.result_writer import RESULTS, ResultWriter, difference_columns, difference_values
from experiments.short_training import SEED, TrainingPlan, compact_unet, paired_difference, with_params
from src.common import probability_levels
from src.common.reference_scale import REFERENCE_FIELD_ANGLE
from src.data import samples, splits, subset_writer
from src.data.entries import Entry
from src.data.samples import Sample
from src.data.splits import Subsets
from src.inference import input_files, segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import confusion_matrix, probability_metrics
from src.metrics.probability_metrics import Histogram
from src.models import architectures, losses, model_io, tensorflow_setup
from src.params import PUBLIC_SETS, Params, load_params
from src.training import checkpoint_store, trainer
from stages import download

WEIGHTS = "models/synthetic_pretrained.h5"
SPLITS = {"chase_db1": "20/8"}  # of the training images
TEST_SPLITS = {"drive": "20/20"}  # of the test images; `all` for the other sets
N_VALIDATION = 3  # patients of the training images of each set that are held out
N_PATCHES = 1200  # augmented patches of each set, at least
INFERENCE = InferenceConfig(tile=1600, overlap=128, tta_flips=False, batch_size=1, tta_scales=(1.0,))
BASELINE = "baseline"
ADJUSTED_THRESHOLD = 0.5  # of adjusted logits
Predict = Callable[[Sample], dict[str, np.ndarray]]  # an image to its prediction at each size


class Configuration(NamedTuple):
    """How a network is trained.

    Attributes:
        params: those that differ from params.yaml.
        loss: its name.
        crop_size: pixels of random crops; None: whole patches.
        synthetic: whether networks are trained on synthetic images as well.
        parent: another configuration of the same parameters, for self-training on unlabelled images.
    """

    params: dict[str, float]
    loss: str
    crop_size: int | None = None
    synthetic: bool = False
    parent: str | None = None


STRONG_INTENSITY = {
    "brightness": 0.15,
    "contrast": 0.4,
    "gamma": 0.4,
    "colour": 0.2,
    "noise_std": 0.03,
    "blur_sigma": 1.5,
}
STRONG = {f"augment.{name}": limit for name, limit in STRONG_INTENSITY.items()}
WIDE = {
    "preprocess.fov_diameter": 720,
    "augment.scale": 0.8,
    "patch.size": 512,
    "patch.stride": 268,
    "patch.context": 2.56,
}
SIZES = ("360", "540", "720", "1080", "1440", "540+720+1080")
WEIGHTED, BY_FIELD_ANGLE, LIMITED = "weighted", "by field angle", "limited"
ALL_SIZES = (*SIZES, "540+900+1440", WEIGHTED, BY_FIELD_ANGLE, LIMITED)  # of other configurations than the baseline
WEIGHTED_SIZES = (540, 900, 1440)
MIN_SCALE_FACTOR = 0.67  # of LIMITED
LABELLING = INFERENCE._replace(tta_scales=WEIGHTED_SIZES, scale_weighting=True, logit_adjustment=True)
UNLABELLED = "unlabelled"
FIELD_ANGLES = {"chase_db1": 30, "hrf": 60}  # degrees; other sets count as REFERENCE_FIELD_ANGLE, FIVES (50) too
SYNTHETIC = "synthetic"  # folder of their images
SYNTHETIC_IMAGES = {"phantom.n_train": 40, "phantom.height": 876, "phantom.width": 848}
PARENT = "wide scaling, strong intensity changes, BCE"
CONFIGURATIONS = {
    BASELINE: Configuration({}, "bce_dice"),
    "wide scaling": Configuration(WIDE, "bce_dice", 256),
    "wide scaling, strong intensity changes": Configuration(WIDE | STRONG, "bce_dice", 256),
    PARENT: Configuration(WIDE | STRONG, "bce", 256),
    f"{PARENT}, self-training": Configuration(WIDE | STRONG, "bce", 256, parent=PARENT),
    f"{PARENT}, synthetic images": Configuration(WIDE | STRONG | SYNTHETIC_IMAGES, "bce", 256, synthetic=True),
}
COLUMNS = (
    *("configuration", "left_out", "size", "n_images", "threshold", "f1", "f1_adjusted_logits", "best_threshold"),
    *("best_f1", "auc_pr"),
    *("mean_f1", *difference_columns("f1"), "mean_auc_pr", *difference_columns("auc_pr"), "mean_cldice"),
    *(*difference_columns("cldice"), "training_minutes"),
)
SHOWN_SIZE = {BASELINE: "540"}  # of which clDice is computed, and with which other configurations are compared
DEFAULT_SHOWN_SIZE = WEIGHTED


class ImageScores(NamedTuple):
    """Scores of N images, (N,) each, and their patients."""

    f1: np.ndarray
    auc_pr: np.ndarray
    cldice: np.ndarray
    groups: np.ndarray


def prepare(name: str, folder: Path, params: Params) -> None:
    """Write folder/{train,validation,test} of a data set, unless they are there."""
    if (folder / "test").is_dir():
        return
    data = params.data

    def find(split: str | None, **uses: list[str]) -> Subsets[Entry]:
        changed = data.splits.model_copy(update={name: split} if split else {})
        chosen = data.model_copy(update={"splits": changed, "train": [], "test": [], **uses})
        return download.find_entries(name, chosen, params.phantom)

    train = find(SPLITS.get(name), train=[name]).train
    order = np.random.default_rng(SEED).permutation(sorted({entry.group for entry in train}))
    held_out = set(order[:N_VALIDATION])
    parts = {
        "train": [entry for entry in train if entry.group not in held_out],
        "validation": [entry for entry in train if entry.group in held_out],
    }
    subset_writer.write_subsets(folder, parts)
    public = hasattr(data.splits, name)
    test = find(TEST_SPLITS.get(name, "all") if public else None, test=[name]).test
    subset_writer.write_subsets(folder, {"test": test})


def check_different_patients(others: Sequence[Path], test: Path) -> None:
    """Raise ValueError where patients of the test images are in data sets that are trained on."""
    known = [
        sample.group for other in others for part in ("train", "validation") for sample in samples.find(other / part)
    ]
    splits.check_disjoint_groups(known, [sample.group for sample in samples.find(test)])


def train(
    configuration: Configuration, folders: Sequence[Path], plan: TrainingPlan, params: Params, file: Path
) -> None:
    """Train a network on augmented patches of the folders, save it to `file`, and the minutes it took beside it."""
    loss = trainer.fov_weighted_loss(
        losses.get(**params.loss.model_copy(update={"name": configuration.loss}).model_dump())
    )
    network, minutes = short_training.fit(functools.partial(compact_unet, params, WEIGHTS), loss, folders, plan)
    short_training.save_network(network, minutes, file)


def augment_labelled(images: Path, folder: Path, params: Params) -> Path:
    """Write augmented patches of a subset below `folder`, unless they are there, and return their folder."""
    if not (folder / "augmented" / "fov.npy").exists():  # the last that is written
        short_training.augment_subset(images, folder, N_PATCHES, params)
    return folder / "augmented"


def augment_pseudo_labelled(images: Path, parent: Path, folder: Path, params: Params) -> Path:
    """Write augmented patches of unlabelled images, with the vessels that a network finds, below `folder`."""
    predictor = SlidingWindowPredictor(architectures.as_numpy_function(model_io.load(parent)), None, LABELLING)

    def find_vessels(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
        clahe = params.preprocess.clahe_clip_limit
        return segmentation.segment_image(image, fov, predictor, 1, clahe).probability >= ADJUSTED_THRESHOLD

    files = input_files.find_images([str(images)], folder).images
    pseudo_labels.write_pseudo_labels(folder, UNLABELLED, files, find_vessels)
    return short_training.augment_subset(folder, folder, N_PATCHES, params)


def predict_sizes(
    predictor: SlidingWindowPredictor, clahe: float, sizes: Sequence[str], sample: Sample
) -> dict[str, np.ndarray]:
    """Predict an image at each of some of ALL_SIZES: probability (H, W) as levels of 16 bits."""
    image, fov = samples.image(sample), samples.fov(sample)

    @functools.cache
    def single(size: int) -> np.ndarray:
        return segmentation.segment_image(image, fov, predictor, size, clahe).probability

    def weighted(angle: float, min_scale_factor: float = 1.0) -> np.ndarray:
        usual = [size * angle / REFERENCE_FIELD_ANGLE for size in WEIGHTED_SIZES]
        maps = [single(size) for size in segmentation.input_diameters(usual, fov, min_scale_factor)]
        return np.average(maps, axis=0, weights=segmentation.scale_weights(maps, fov))

    def merged(size: str) -> np.ndarray:
        if size == WEIGHTED:
            return weighted(REFERENCE_FIELD_ANGLE)
        if size == BY_FIELD_ANGLE:
            return weighted(FIELD_ANGLES.get(sample.dataset, REFERENCE_FIELD_ANGLE))
        if size == LIMITED:
            return weighted(REFERENCE_FIELD_ANGLE, MIN_SCALE_FACTOR)
        return np.mean([single(int(one)) for one in size.split("+")], axis=0)

    return {size: probability_levels.to_levels(merged(size)) for size in sizes}


def histograms(sample: Sample, levels: dict[str, np.ndarray]) -> dict[str, Histogram]:
    """Count the pixels in the FOV of an image predicted at each size."""
    truth, fov = samples.truth(sample), samples.fov(sample)
    return {size: probability_metrics.histogram(each, truth, fov) for size, each in levels.items()}


def choose_thresholds(predict: Predict, folders: Sequence[Path]) -> dict[str, float]:
    """Choose the threshold of each size on the validation images of some data sets, one folder each."""
    pooled: defaultdict[str, list[Histogram]] = defaultdict(lambda: [probability_metrics.EMPTY] * len(folders))
    for number, folder in enumerate(folders):
        for sample in samples.find(folder):
            for size, of_image in histograms(sample, predict(sample)).items():
                pooled[size][number] += of_image
    return {size: probability_metrics.best_threshold(*of_sets) for size, of_sets in pooled.items()}


def f1_of_adjusted_logits(images: Sequence[Histogram]) -> float:
    """Compute F1 over all pixels of images whose logits are adjusted: each at its own threshold."""
    thresholds = [segmentation.own_threshold(one.vessel + one.background) for one in images]
    counts = [probability_metrics.counts_above(*each) for each in zip(images, thresholds, strict=True)]
    return confusion_matrix.scores(confusion_matrix.Counts(*np.sum(counts, axis=0)))["f1"]


def test(
    predict: Predict, folder: Path, thresholds: dict[str, float], shown: str, params: Params
) -> Iterator[tuple[dict[str, str | float], ImageScores]]:
    """Yield scores of a data set at each size: columns of the table, and scores image by image."""
    images: dict[str, list[Histogram]] = {size: [] for size in thresholds}
    found, centrelines = samples.find(folder), []
    for sample in tqdm(found, f"test {folder.parent.name}", unit="image"):
        levels = predict(sample)
        centrelines.append(short_training.cldice(levels[shown], thresholds[shown], sample, params))
        for size, of_image in histograms(sample, levels).items():
            images[size].append(of_image)
    groups = np.array([sample.group for sample in found])
    for size, threshold in thresholds.items():
        results = short_training.TestResults(images[size], groups)
        best = probability_metrics.best_threshold(results.pooled)
        of_images = np.array(centrelines) if size == shown else np.full(len(groups), np.nan)
        columns: dict[str, str | float] = {
            "size": size,
            "n_images": len(found),
            "threshold": threshold,
            "f1": probability_metrics.scores_at(results.pooled, threshold)["f1"],
            "f1_adjusted_logits": f1_of_adjusted_logits(images[size]),
            "best_threshold": best,
            "best_f1": probability_metrics.scores_at(results.pooled, best)["f1"],
            "auc_pr": probability_metrics.auc_pr(results.pooled),
        }
        yield columns, ImageScores(results.f1(threshold), results.auc_pr(), of_images, groups)


def compare(scores: ImageScores, base: ImageScores | None) -> dict[str, float]:
    """Return the means over images, and their paired differences from those of the baseline."""
    columns: dict[str, float] = {}
    for name in ("f1", "auc_pr", "cldice"):
        values = getattr(scores, name)
        columns[f"mean_{name}"] = float(values.mean())
        if base is not None and not np.isnan(values).any():
            columns |= difference_values(name, paired_difference(values, getattr(base, name), scores.groups))
    return columns


def main() -> None:
    """Write the rows of each configuration and left-out set as they end."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.leave_one_dataset_out",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sets", nargs="+", metavar="SET")
    labelled = [name for name, configuration in CONFIGURATIONS.items() if configuration.parent is None]
    parser.add_argument(
        "--configurations",
        nargs="+",
        choices=CONFIGURATIONS,
        default=labelled,
        metavar="CONFIGURATION",
        help="default: all that need no --unlabelled",
    )
    parser.add_argument("--left-out", nargs="+", metavar="SET", help="sets to leave out in turn (default: each)")
    parser.add_argument("--unlabelled", type=Path, metavar="FOLDER", help="of images for self-training")
    parser.add_argument("--steps", type=int, default=1000, help="of training (default: 1000)")
    parser.add_argument("--work", type=Path, default=Path("data/leave_one_out"), help="folder of data and networks")
    parser.add_argument("--results", type=Path, default=RESULTS / "leave_one_dataset_out.csv", help="CSV to write")
    arguments = parser.parse_args()
    params = load_params()
    known = (*PUBLIC_SETS, "folder", *params.data.custom)
    for option, names, allowed in (
        ("SET", arguments.sets, known),
        ("--left-out", arguments.left_out or (), arguments.sets),
    ):
        if unknown := [name for name in names if name not in allowed]:
            parser.error(f"{option}: expected some of {', '.join(allowed)}, got {', '.join(unknown)}")
    if len(arguments.sets) < 3:
        parser.error(f"expected at least 3 data sets, got {', '.join(arguments.sets)}")
    if arguments.unlabelled is None and any(CONFIGURATIONS[name].parent for name in arguments.configurations):
        parser.error("expected --unlabelled, as a configuration is trained on unlabelled images; found none")
    tensorflow_setup.configure(params.train.cpu_threads, SEED)
    folder = arguments.work / fingerprint(arguments, params)
    for name in arguments.sets:
        prepare(name, folder / name, params)
    run_configurations(folder, arguments, params)


def fingerprint(arguments: argparse.Namespace, params: Params) -> str:
    """Hash what data and networks are made from."""
    options = {"params": params.model_dump(), "sets": sorted(arguments.sets), "steps": arguments.steps}
    folder = [params.data.folder.path] if "folder" in arguments.sets else []
    images = [*folder, *params.data.custom.values(), *([arguments.unlabelled] if arguments.unlabelled else [])]
    return checkpoint_store.training_fingerprint(options, [Path(WEIGHTS), *map(Path, images)])


def order_of(names: Sequence[str]) -> list[str]:
    """Return the baseline and the configurations of these names, each after its parent."""
    each = (part for name in names for part in (CONFIGURATIONS[name].parent, name) if part)
    return list(dict.fromkeys([BASELINE, *each]))


def configuration_folder(folder: Path, name: str) -> Path:
    """Return the folder of networks and patches of a configuration."""
    return folder / f"configuration_{list(CONFIGURATIONS).index(name)}"


def run_configurations(folder: Path, arguments: argparse.Namespace, params: Params) -> None:
    """Train and test each configuration without each set; the baseline goes first."""
    writer, bases = ResultWriter(arguments.results, COLUMNS), {}
    for name in order_of(arguments.configurations):
        configuration = CONFIGURATIONS[name]
        changed = with_params(params, configuration.params)
        place = configuration_folder(folder, name)
        patches = configuration_folder(folder, configuration.parent or name)  # of the labelled images
        for left_out in arguments.left_out or arguments.sets:
            others = [other for other in arguments.sets if other != left_out]
            check_different_patients([folder / other for other in others], folder / left_out / "test")
            plan = TrainingPlan(arguments.steps, seed=SEED, crop_size=configuration.crop_size)
            file = place / f"{left_out}.h5"
            if not file.exists():
                folders = [augment_labelled(folder / other / "train", patches / other, changed) for other in others]
                if configuration.synthetic:
                    prepare("phantom", folder / SYNTHETIC, changed)
                    folders.append(augment_labelled(folder / SYNTHETIC / "train", patches / SYNTHETIC, changed))
                place.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=place) as scratch:
                    if configuration.parent:
                        images, parent = arguments.unlabelled, patches / file.name
                        folders.append(augment_pseudo_labelled(images, parent, Path(scratch), changed))
                    train(configuration, folders, plan, changed, file)
            minutes = short_training.read_minutes(file)
            network = architectures.as_numpy_function(model_io.load(file))
            predictor = SlidingWindowPredictor(network, None, INFERENCE)
            sizes = SIZES if name == BASELINE else ALL_SIZES
            predict = functools.partial(predict_sizes, predictor, changed.preprocess.clahe_clip_limit, sizes)
            thresholds = choose_thresholds(predict, [folder / other / "validation" for other in others])
            shown = SHOWN_SIZE.get(name, DEFAULT_SHOWN_SIZE)
            for columns, scores in test(predict, folder / left_out / "test", thresholds, shown, changed):
                if columns["size"] == SHOWN_SIZE[BASELINE] and name == BASELINE:
                    bases[left_out] = scores
                base = None if name == BASELINE else bases[left_out]
                writer.add(
                    configuration=name, left_out=left_out, training_minutes=minutes, **columns, **compare(scores, base)
                )


if __name__ == "__main__":
    main()
