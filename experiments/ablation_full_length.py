"""Ablation of a named experiment at full length: python -m experiments.ablation_full_length NAME DATA [CHANGES ...].

NAME is an experiment of experiments.yaml; DATA is a folder of images of one data set as stage download writes it
(`data/raw/train` of a run with `data.validation_fraction: 0`). CHANGES are the parameters that a trial changes, as
`loss.name=bce` or `loss.name=bce_tversky,loss.fn_weight=0.6`. The first trial is the baseline: it has the parameters of
the experiment and of --baseline, as the other trials have but for their own changes. A trial trains one network,
unless --baseline or the trial itself sets `train.ensemble_size`.

Each trial is trained twice: on one half of the patients, tested on the other, and the other way round. With --folds N,
the patients are divided in N parts, and each part is predicted by a network that was trained on all others. So every
image is predicted by a network that has not seen it. `threshold` is that of the highest F1 over all, pooled. It can
serve as `evaluate.threshold` of a training on all images. F1 and clDice are at that threshold, in the field of view.
Differences are paired by image, and of means over the seeds. Networks are kept below --work: an interrupted run goes
on where it was, and trials that differ in section `evaluate` share their networks. `evaluate.thin_vessel_extension`
and `evaluate.hysteresis_threshold` take effect at `threshold`; trials that differ in these share their predictions.

With --second-observer the vessels of the second observer are learnt and tested on: how well can an observer be learnt?
"""

import argparse
import re
import tempfile
import time
from pathlib import Path

import numpy as np

from experiments import short_training
from experiments.ablation_training import split_folds
from experiments.result_writer import RESULTS, ResultWriter, difference_columns, difference_values
from experiments.results_tables import load_experiments
from experiments.short_training import TestResults
from src.data import samples
from src.metrics import probability_metrics
from src.metrics.probability_metrics import EMPTY
from src.models import architectures, model_io, tensorflow_setup
from src.models.tensorflow_setup import tf
from src.params import Params, Train, load_params
from src.preprocessing import patch_storage, patches
from src.training import checkpoint_store
from src.training.epoch_log import EpochLog
from src.training.trainer import TrainingData
from stages import augment, patch
from stages import train as train_stage

BASELINE = "baseline"
FIXED = (  # parameters that a trial cannot change, or that have no effect
    *("data.", "phantom.", "baselines.", "plot.", "record."),
    *("train.seed", "train.monitor", "train.patience", "train.cpu_threads"),
    *("evaluate.threshold", "evaluate.bootstrap_resamples", "evaluate.seed"),
)
UNCONNECTED = {"evaluate.thin_vessel_extension": 0.0, "evaluate.hysteresis_threshold": None}
SCORES = ("f1", "auc_pr", "cldice")
COLUMNS = (
    *("experiment", "observer", "trial", "n_seeds", "n_folds", "n_images", "training_minutes", "threshold"),
    *("pooled_f1", "pooled_auc_roc", "pooled_auc_pr"),
    *(column for score in SCORES for column in (f"mean_{score}", *difference_columns(score))),
)


def with_second_observer(data: Path, folder: Path) -> Path:
    """Write `folder`, links to the images of `data`, in which the second observer's vessels are the truth."""
    sources = {"images": "images", "fov": "fov", "truth": "second_observer"}
    found = short_training.find_real_images(data)
    for sample in found:
        if not sample.path("second_observer").exists():
            raise FileNotFoundError(
                f"{sample.path('second_observer')}: missing; expected images with a second observer"
            )
    samples.write_table(folder, [(sample.dataset, sample.id, sample.group) for sample in found])
    for place in {sample.folder for sample in found}:
        for kind, source in sources.items():
            link = folder / place.name / kind
            link.parent.mkdir(exist_ok=True)
            link.symlink_to((place / source).resolve())
    return folder


def train(params: Params, member: Train, images: Path, work: Path) -> tuple[Path, float]:
    """Train one network on the images of all folds but one, unless `work` has it; return its file and the minutes."""
    file = work / f"{fingerprint(params.model_copy(update={'train': member}), images)}.h5"
    if file.exists():
        return file, short_training.read_minutes(file)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        side = patches.context_side(params.patch.size, params.patch.context)
        patch.write_subset(images, folder / "patches", side, params.patch, params.preprocess)
        augment.main(folder / "patches", folder / "augmented", params.patch.size, params.augment)
        data = TrainingData(
            patch_storage.read(folder / "augmented"), None, member.batch_size, member.seed, crop_size=member.crop_size
        )
        log = EpochLog(folder / "training.csv")
        tf.keras.backend.clear_session()
        tensorflow_setup.set_precision(member.mixed_precision)
        begin = time.perf_counter()
        [network] = train_stage.train_members(data, log, params.model, params.loss, member, None)
        minutes = (time.perf_counter() - begin) / 60
    short_training.save_network(network, minutes, file)
    return file, minutes


def fingerprint(params: Params, images: Path) -> str:
    """Hash what a network of these images is made from."""
    sections = params.model_dump(include={"preprocess", "patch", "augment", "model", "loss", "train"})
    kinds = ("images", "fov", "truth")
    files = [sample.path(kind).resolve() for sample in samples.find(images) for kind in kinds]
    weights = Path(params.model.encoder_weights or "")
    inputs = [*files, *([weights] if weights.is_file() else [])]
    return checkpoint_store.training_fingerprint(sections, inputs)


class Predictor:
    """Predicts every image by a network that has not seen it, without extension of thin vessels and hysteresis."""

    def __init__(self, folds: list[tuple[Path, Path]], work: Path) -> None:
        """Train on the first folder of each fold, and predict the second."""
        self.folds, self.work = folds, work
        self._known: dict[tuple[str, int], tuple[list[short_training.Prediction], float]] = {}

    def predict(self, params: Params, seed: int) -> tuple[list[short_training.Prediction], float]:
        """Return the predictions of networks that are trained from a seed, and the minutes of their trainings."""
        plain = short_training.with_params(params, UNCONNECTED)
        key = plain.model_dump_json(), seed
        if key not in self._known:
            if self._known and next(iter(self._known))[0] != key[0]:
                self._known.clear()  # maps of large images take much memory
            self._known[key] = self._train_and_predict(plain, seed)
        return self._known[key]

    def _train_and_predict(self, params: Params, seed: int) -> tuple[list[short_training.Prediction], float]:
        predictions: list[short_training.Prediction] = []
        minutes = 0.0
        members = [
            params.train.model_copy(update={"seed": number, "ensemble_size": 1, "skeleton_recall_weight": weight})
            for number, weight in enumerate(train_stage.skeleton_recall_weights(params.train), seed)
        ]
        for images, held_out in self.folds:
            files, times = zip(*(train(params, member, images, self.work) for member in members), strict=True)
            network = architectures.ensemble_average(list(map(model_io.load, files)))
            predictions += short_training.predict_images(network, held_out, params)
            minutes += sum(times)
        return predictions, minutes


def run_trial(params: Params, seeds: range, predictor: Predictor) -> tuple[dict, dict, np.ndarray]:
    """Train and test from each seed; return columns, means (N,) of SCORES over the seeds, and patients (N,)."""
    columns, scores = [], []
    for seed in seeds:
        predictions, minutes = predictor.predict(params, seed)
        groups = np.array([one.sample.group for one in predictions])
        connected = short_training.connect_vessels(predictions, params.evaluate, None)
        threshold = probability_metrics.best_threshold(sum((one.histogram for one in connected), EMPTY))
        predictions = list(short_training.connect_vessels(predictions, params.evaluate, threshold))
        results = TestResults([one.histogram for one in predictions], groups)
        pooled = probability_metrics.scores_at(results.pooled, threshold)
        columns.append(
            {"training_minutes": minutes, "threshold": threshold}
            | {f"pooled_{name}": pooled[name] for name in ("f1", "auc_roc", "auc_pr")}
        )
        cldice = [short_training.cldice(one.levels, threshold, one.sample, params) for one in predictions]
        scores.append({"f1": results.f1(threshold), "auc_pr": results.auc_pr(), "cldice": np.array(cldice)})
    means = {name: float(np.mean([each[name] for each in columns])) for name in columns[0]}
    return means, {name: np.mean([s[name] for s in scores], axis=0) for name in SCORES}, groups


def read_changes(text: str) -> dict[str, object]:
    """Read the parameters that a trial changes.

    >>> read_changes("loss.name=bce,evaluate.tta_scales=[1.0,1.5]")
    {'loss.name': 'bce', 'evaluate.tta_scales': [1.0, 1.5]}

    Raises:
        ValueError: it is no KEY=VALUE, or one of FIXED.
    """
    changes = short_training.read_changes(re.split(r",(?![^\[]*\])", text) if text != BASELINE else [])
    for key in changes:
        if key.removeprefix("+").startswith(FIXED):
            raise ValueError(f"expected a change of a parameter, but not of {', '.join(FIXED)}, got {key!r}")
    return changes


def main() -> None:
    """Write a row for each trial as it ends."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.ablation_full_length",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("experiment", choices=load_experiments(), metavar="NAME")
    parser.add_argument("data", type=Path)
    parser.add_argument("trials", nargs="*", metavar="CHANGES")
    parser.add_argument("--baseline", default=BASELINE, metavar="CHANGES", help="changes of all trials (default: none)")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each fold and trial (default: 1)")
    parser.add_argument("--folds", type=int, default=2, help="parts of the patients (default: 2)")
    parser.add_argument(
        "--second-observer", action="store_true", help="train and test on the second observer's vessels"
    )
    parser.add_argument("--work", type=Path, default=Path("data/ablation_full_length"), help="folder of networks")
    parser.add_argument("--results", type=Path, default=RESULTS / "ablation_full_length.csv", help="CSV to write")
    arguments = parser.parse_args()
    of_experiment = load_experiments()[arguments.experiment].params
    try:
        changes = of_experiment | {"train.ensemble_size": 1} | read_changes(arguments.baseline)
        params = short_training.with_params(load_params(), changes)
        trials = {name: short_training.with_params(params, read_changes(name)) for name in arguments.trials}
    except ValueError as error:
        parser.error(str(error))
    for name, least in (("seeds", 1), ("folds", 2)):
        if getattr(arguments, name) < least:
            parser.error(f"expected at least {least} for --{name}, got {getattr(arguments, name)}")
    tensorflow_setup.configure(params.train.cpu_threads, params.train.seed)
    writer, base = ResultWriter(arguments.results, COLUMNS), None
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data
        if arguments.second_observer:
            data = with_second_observer(data, Path(folder) / "second_observer")
        try:
            predictor = Predictor(list(split_folds(data, Path(folder), arguments.folds)), arguments.work)
        except ValueError as error:
            parser.error(str(error))
        for name, changed in [(arguments.baseline, params), *trials.items()]:
            size, first = changed.train.ensemble_size, changed.train.seed
            seeds = range(first, first + size * arguments.seeds, size)
            columns, means, groups = run_trial(changed, seeds, predictor)
            base = base or means
            for score, values in means.items():
                difference = short_training.paired_difference(values, base[score], groups)
                columns |= {f"mean_{score}": float(values.mean())} | difference_values(score, difference)
            writer.add(
                experiment=arguments.experiment,
                observer="second" if arguments.second_observer else "first",
                trial=name,
                n_seeds=arguments.seeds,
                n_folds=arguments.folds,
                n_images=len(groups),
                **columns,
            )


if __name__ == "__main__":
    main()
