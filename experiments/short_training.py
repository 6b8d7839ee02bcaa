"""Short trainings of the compact U-Net that compare one change with another, and their scores on real images.

Intervals of differences are over images, for the networks that were trained: another seed gives other networks.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from tqdm import tqdm

from src.common import atomic_io, probability_levels
from src.data import samples
from src.data.samples import Sample
from src.inference import predict_dataset, segmentation
from src.inference.predict_dataset import PredictedSample
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import bootstrap, probability_metrics, structural_metrics, vessel_geometry
from src.models import architectures, losses, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Evaluate, Params, checked
from src.preprocessing import patch_storage, patches
from src.training import data_loader, trainer
from stages import augment, patch
from stages.evaluate import inference_config, make_predictor

BATCH_SIZE, SEED, RESAMPLES = 8, 1, 5000
LEARNING_RATE = 4e-3  # peak, from random weights
INFERENCE = InferenceConfig(tile=1024, overlap=128, tta_flips=True, batch_size=4, tta_scales=(1.0,))
LOSS = trainer.fov_weighted_loss(losses.bce_dice_loss)
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class TrainingPlan(NamedTuple):
    """Length of a training in steps of at most `BATCH_SIZE` patches, peak learning rate, seed, size of random crops."""

    steps: int
    learning_rate: float = LEARNING_RATE
    seed: int = SEED
    crop_size: int | None = None


class TestResults(NamedTuple):
    """Results in the FOV of N images: histograms (N) of probabilities, and the patient (group) of each image (N,)."""

    histograms: list[probability_metrics.Histogram]
    groups: np.ndarray

    @property
    def pooled(self) -> probability_metrics.Histogram:
        """Histogram of all pixels of all images."""
        return sum(self.histograms, probability_metrics.EMPTY)

    def f1(self, threshold: float) -> np.ndarray:
        """F1 (N,) of each image."""
        return np.array([probability_metrics.scores_at(histogram, threshold)["f1"] for histogram in self.histograms])

    def auc_roc(self) -> np.ndarray:
        """Area under the ROC curve (N,) of each image."""
        return np.array([probability_metrics.auc_roc(histogram) for histogram in self.histograms])

    def auc_pr(self) -> np.ndarray:
        """Area under the precision-recall curve (N,) of each image."""
        return np.array([probability_metrics.auc_pr(histogram) for histogram in self.histograms])


class Prediction(NamedTuple):
    """An image predicted by a network that has not seen it: histogram of its FOV, levels (H, W), sample."""

    histogram: probability_metrics.Histogram
    levels: np.ndarray
    sample: Sample


def predict_subset(network: tf.keras.Model, root: Path, params: Params) -> Iterator[PredictedSample]:
    """Predict the images of a subset as stage evaluate does."""
    size = params.preprocess.fov_diameter, params.preprocess.clahe_clip_limit
    return predict_dataset.predict_subset(root, make_predictor(network, params.evaluate), *size)


def predict_images(network: tf.keras.Model, root: Path, params: Params) -> Iterator[Prediction]:
    """Predict the images of a subset as stage evaluate does, and count the pixels of each."""
    for sample, prediction in predict_subset(network, root, params):
        levels = probability_levels.to_levels(prediction.probability)
        histogram = probability_metrics.histogram(levels, samples.truth(sample), samples.fov(sample))
        yield Prediction(histogram, levels, sample)


def connect_vessels(
    predictions: Iterable[Prediction], evaluate: Evaluate, threshold: float | None
) -> Iterator[Prediction]:
    """Extend thin vessels and apply hysteresis to maps of 16 bit that have neither, at `threshold` or at any."""
    config = inference_config(evaluate)._replace(threshold=threshold)
    for one in predictions:
        truth, fov = samples.truth(one.sample), samples.fov(one.sample)
        probability = one.levels / np.float32(probability_levels.LEVELS - 1)
        levels = probability_levels.to_levels(segmentation.connect_vessels(probability, fov, config))
        yield Prediction(probability_metrics.histogram(levels, truth, fov), levels, one.sample)


def read_changes(texts: Iterable[str]) -> dict[str, object]:
    """Read changes of parameters, each as KEY=VALUE with a value in YAML.

    >>> read_changes(["loss.name=bce", "evaluate.tta_scales=[1.0,1.5]"])
    {'loss.name': 'bce', 'evaluate.tta_scales': [1.0, 1.5]}

    Raises:
        ValueError: one is no KEY=VALUE.
    """
    pairs = {text: text.partition("=") for text in texts}
    for text, (key, equals, _) in pairs.items():
        if not key or not equals:
            raise ValueError(f"expected KEY=VALUE, got {text!r}")
    return {key: yaml.safe_load(value) for key, _, value in pairs.values()}


def with_params(params: Params, changes: Mapping[str, object]) -> Params:
    """Return checked parameters with some changed, by dotted keys; a leading + marks a new key, as for DVC."""
    values = params.model_dump()
    for key, value in changes.items():
        *sections, name = key.removeprefix("+").split(".")
        section = values
        for part in sections:
            if not isinstance(section.get(part), dict):
                raise ValueError(f"{key}: expected a parameter of params.yaml, got another key")
            section = section[part]
        section[name] = value
    return checked(Params, values, Path("params.yaml"))


def find_real_images(folder: Path) -> list[samples.Sample]:
    """Find the images of one real data set below `folder`, a subset as stage download writes it.

    Raises:
        ValueError: there are synthetic images, or images of several data sets.
    """
    found = samples.find(folder)
    names = sorted({sample.dataset for sample in found})
    if len(names) > 1 or "phantom" in names:
        raise ValueError(f"{folder}: expected real images of one data set, got {', '.join(names)}")
    return found


def link_subset(chosen: Iterable[samples.Sample], root: Path) -> Path:
    """Write `root`, a subset of links to the chosen images, and return it."""
    chosen = list(chosen)
    samples.write_table(root, [(sample.dataset, sample.id, sample.group) for sample in chosen])
    for folder in {sample.folder for sample in chosen}:
        (root / folder.name).symlink_to(folder.resolve())
    return root


def augment_subset(root: Path, folder: Path, least: int, params: Params) -> Path:
    """Write the patches of a subset and at least `least` augmented patches below `folder`; return their folder."""
    side = patches.context_side(params.patch.size, params.patch.context)
    patch.write_subset(root, folder / "patches", side, params.patch, params.preprocess)
    n_per_patch = math.ceil(least / len(patch_storage.read(folder / "patches").images))
    section = params.augment.model_copy(update={"n_per_patch": n_per_patch, "elastic_sigma": 0.0})
    augment.main(folder / "patches", folder / "augmented", params.patch.size, section)
    return folder / "augmented"


def compact_unet(params: Params, weights: str | None = None) -> tf.keras.Model:
    """Build the compact U-Net, with random weights or those of a saved one."""
    return architectures.build("residual_unet", "", weights, params.model.filters, params.patch.size)


def fit(
    build: Callable[[], tf.keras.Model],
    loss: Loss,
    folders: Sequence[Path],
    plan: TrainingPlan,
    callbacks: Iterable[tf.keras.callbacks.Callback] = (),
) -> tuple[tf.keras.Model, float]:
    """Train a network on batches with equally many patches of each folder; return it, and the minutes it took.

    Raises:
        ValueError: more folders than patches in a batch.
    """
    if len(folders) > BATCH_SIZE:
        raise ValueError(f"expected at most {BATCH_SIZE} folders, a patch of each in a batch, got {len(folders)}")
    tf.keras.backend.clear_session()
    tensorflow_setup.set_seed(plan.seed)
    tensorflow_setup.set_precision(mixed_precision=True)
    network = build()
    schedule = trainer.TrainingSchedule(
        epochs=1,
        steps_per_epoch=plan.steps,
        learning_rate=plan.learning_rate,
        warmup_fraction=0.05,
        cosine=True,
        clip_norm=1.0,
        monitor="loss",
        patience=None,
    )
    trainer.compile_network(network, schedule, loss)
    begin = time.perf_counter()
    batch_size = BATCH_SIZE // len(folders)
    parts = [
        data_loader.training_dataset(patch_storage.read(folder), batch_size, plan.seed, crop_size=plan.crop_size)
        for folder in folders
    ]
    data = parts[0] if len(parts) == 1 else tf.data.Dataset.zip(tuple(parts)).map(_concatenate)
    with contextlib.closing(tqdm(total=plan.steps, desc="train", unit="step")) as bar:
        advance = tf.keras.callbacks.LambdaCallback(on_batch_end=lambda batch, logs: bar.update())
        network.fit(data, steps_per_epoch=plan.steps, verbose=0, callbacks=[*callbacks, advance])
    return network, (time.perf_counter() - begin) / 60


def _concatenate(*batches: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, ...]:
    return tuple(tf.concat(arrays, axis=0) for arrays in zip(*batches, strict=True))


def save_network(network: tf.keras.Model, minutes: float, file: Path) -> None:
    """Save a trained network in float32, and beside it the minutes of its training."""
    atomic_io.write_text(_minutes_file(file), f"{minutes}\n")
    model_io.save(model_io.as_float32(network), file)


def read_minutes(file: Path) -> float:
    """Return the minutes that the training of a saved network took."""
    return float(_minutes_file(file).read_text(encoding="utf-8"))


def _minutes_file(file: Path) -> Path:
    return file.with_suffix(".minutes")


def predict(network: tf.keras.Model, root: Path, params: Params, inference: InferenceConfig = INFERENCE) -> TestResults:
    """Predict the images of a subset, by default with the mean over flips."""
    predictor = SlidingWindowPredictor(architectures.as_numpy_function(network), None, inference)
    preprocess = params.preprocess
    predicted = predict_dataset.predict_subset(root, predictor, preprocess.fov_diameter, preprocess.clahe_clip_limit)
    images = [(predict_dataset.pool_histograms([one])[one[0].dataset], one[0].group) for one in predicted]
    return TestResults([histogram for histogram, _ in images], np.array([group for _, group in images]))


def cldice(levels: np.ndarray, threshold: float, sample: Sample, params: Params) -> float:
    """Compute the centreline Dice of a prediction at a threshold."""
    fov, limits = samples.fov(sample), params.evaluate.width_limits
    vessels = probability_levels.above(levels, threshold)
    truth, predicted = (
        vessel_geometry.measure_geometry(map_, fov, limits) for map_ in (samples.truth(sample), vessels)
    )
    return structural_metrics.cldice(truth, predicted)


def paired_difference(values: np.ndarray, others: np.ndarray, groups: np.ndarray) -> bootstrap.Difference:
    """Compute the mean of paired differences (N,) of a score, higher is better, with its interval over images."""
    return bootstrap.paired_difference(values, others, groups, False, RESAMPLES, SEED)
