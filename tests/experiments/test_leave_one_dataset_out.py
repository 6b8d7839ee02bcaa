import argparse
import csv
import re
import sys

import numpy as np
import pytest

from experiments import leave_one_dataset_out as experiment
from experiments import short_training
from experiments.leave_one_dataset_out import ALL_SIZES, CONFIGURATIONS, ImageScores
from experiments.short_training import with_params
from src.common import probability_levels
from src.data import samples
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.models import model_io
from src.params import load_params
from src.synthetic import generator

pytestmark = pytest.mark.usefixtures("no_workers")
GROUPS = np.array(["a", "b", "c", "d"])


@pytest.fixture(scope="module")
def params():
    changes = {"phantom.n_train": 6, "phantom.n_test": 2, "phantom.height": 128, "phantom.width": 128}
    return with_params(load_params(), changes)


@pytest.mark.parametrize("configuration", CONFIGURATIONS.values(), ids=CONFIGURATIONS)
def test_configurations_are_valid(configuration):
    changed = with_params(load_params(), configuration.params)
    for key, value in configuration.params.items():
        section, name = key.split(".")
        assert getattr(getattr(changed, section), name) == value


def test_unknown_key_is_rejected():
    with pytest.raises(ValueError, match=r"patch\.length"):
        with_params(load_params(), {"patch.length": 64})


@pytest.mark.slow
def test_validation_images_are_held_out_of_the_training_images(params, tmp_path):
    experiment.prepare("phantom", tmp_path, params)
    parts = [{sample.id for sample in samples.find(tmp_path / part)} for part in ("train", "validation", "test")]
    assert list(map(len, parts)) == [3, 3, 2]
    assert not parts[0] & parts[1]


@pytest.mark.slow
def test_prediction_at_several_sizes_is_their_mean(params, tmp_path, monkeypatch):
    experiment.prepare("phantom", tmp_path, params)
    sample = samples.find(tmp_path / "test")[0]
    config = InferenceConfig(tile=256, overlap=32, tta_flips=False, batch_size=1, tta_scales=(1.0,))
    darker = SlidingWindowPredictor(lambda images: 1 - images[..., :1] / 255, None, config)
    monkeypatch.setitem(experiment.FIELD_ANGLES, "phantom", 90)
    levels = experiment.predict_sizes(darker, 0.0, [*ALL_SIZES, "900"], sample)
    mean = (levels["540"].astype(float) + levels["720"] + levels["1080"]) / 3
    assert np.abs(levels["540+720+1080"] - mean).max() <= 1
    assert (levels["540"] != levels["720"]).any()
    maps, fov = [levels[size] / 65535 for size in ("540", "900", "1440")], samples.fov(sample)
    weights = segmentation.scale_weights(maps, fov)
    assert np.abs(levels["weighted"] / 65535 - np.average(maps, axis=0, weights=weights)).max() < 1e-3
    limited = segmentation.input_diameters(experiment.WEIGHTED_SIZES, fov, experiment.MIN_SCALE_FACTOR)
    assert limited == [362, 603, 965]  # of WEIGHTED_SIZES, as the resolution is low
    monkeypatch.setattr(experiment, "WEIGHTED_SIZES", limited)
    assert np.array_equal(levels["limited"], experiment.predict_sizes(darker, 0.0, ["weighted"], sample)["weighted"])
    monkeypatch.setattr(experiment, "WEIGHTED_SIZES", (1080, 1800, 2880))
    monkeypatch.setitem(experiment.FIELD_ANGLES, "phantom", 45)
    larger = experiment.predict_sizes(darker, 0.0, ["weighted"], sample)
    assert np.array_equal(levels["by field angle"], larger["weighted"])


def test_scores_are_compared_image_by_image_with_the_baseline():
    half, nan = np.full(4, 0.5), np.full(4, np.nan)
    base = ImageScores(half, half, half, GROUPS)
    columns = experiment.compare(ImageScores(half + 0.1, half, nan, GROUPS), base)
    assert columns["mean_f1"] == pytest.approx(0.6)
    assert columns["f1_difference"] == pytest.approx(0.1)
    assert "cldice_difference" not in columns
    assert "f1_difference" not in experiment.compare(base, None)


def test_images_are_scored_at_their_own_thresholds():
    rng = np.random.default_rng(1)
    images = []
    for sharpness in (0.05, 2.0):
        probability = rng.beta(sharpness, 5 * sharpness, (1, 50_000))
        levels, truth = probability_levels.to_levels(probability), rng.random(probability.shape) < probability
        images.append(probability_metrics.histogram(levels, truth, np.ones_like(truth)))
    thresholds = [segmentation.own_threshold(one.vessel + one.background) for one in images]
    assert abs(thresholds[0] - thresholds[1]) > 0.1
    counts = [probability_metrics.counts_above(*each) for each in zip(images, thresholds, strict=True)]
    tp, fp, fn = (sum(getattr(each, name) for each in counts) for name in ("tp", "fp", "fn"))
    assert experiment.f1_of_adjusted_logits(images) == pytest.approx(2 * tp / (2 * tp + fp + fn))


def write_set(folder, first):
    """Four synthetic images as a custom data set."""
    for number in range(first, first + 4):
        image = generator.generate(1, number, 128, 128)
        samples.write_image(folder / "images" / f"{number}.png", image.image)
        samples.write_bool(folder / "truth" / f"{number}.png", image.truth)
    return str(folder)


@pytest.fixture
def program(tmp_path, monkeypatch):
    """The program on three small data sets with configurations of one step; returns the rows of its table."""
    sets = {name: write_set(tmp_path / name, 4 * number) for number, name in enumerate("abc")}
    write_set(tmp_path / "unlabelled", 12)
    params = with_params(load_params(), {"data.custom": sets, "model.filters": [4, 8]})
    weights = tmp_path / "weights.h5"
    model_io.save(short_training.compact_unet(params), weights)
    small = {"preprocess.fov_diameter": 64, "patch.size": 64, "patch.stride": 64}
    few = {"phantom.n_train": 4, "phantom.height": 128, "phantom.width": 128}
    configurations = {
        experiment.BASELINE: experiment.Configuration(small, "bce_dice"),
        "parent": experiment.Configuration(small, "bce", 32),
        "student": experiment.Configuration(small, "bce", 32, parent="parent"),
        "synthetic": experiment.Configuration(small | few, "bce", 32, synthetic=True),
    }
    monkeypatch.setattr(experiment, "load_params", lambda: params)
    monkeypatch.setattr(experiment.tensorflow_setup, "configure", lambda *_: None)  # once a process
    monkeypatch.setattr(experiment, "CONFIGURATIONS", configurations)
    monkeypatch.setattr(experiment, "WEIGHTS", str(weights))
    monkeypatch.setattr(experiment, "N_PATCHES", 8)
    for name, sizes in (("SIZES", ("32", "64")), ("ALL_SIZES", ("32", "weighted"))):
        monkeypatch.setattr(experiment, name, sizes)
    monkeypatch.setattr(experiment, "SHOWN_SIZE", {experiment.BASELINE: "64"})
    monkeypatch.setattr(experiment, "WEIGHTED_SIZES", (32, 64))
    monkeypatch.setattr(experiment, "LABELLING", experiment.LABELLING._replace(tta_scales=(32, 64)))

    def run(*options):
        results = tmp_path / "results.csv"
        results.unlink(missing_ok=True)
        given = ["a", "b", "c", "--left-out", "c", "--steps", "1", "--work", str(tmp_path / "work"), *options]
        monkeypatch.setattr(sys, "argv", ["leave_one_dataset_out", *given, "--results", str(results)])
        experiment.main()
        with results.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return run


@pytest.mark.slow
def test_parents_go_first_synthetic_images_are_added_and_a_run_goes_on_where_it_was(program, tmp_path, monkeypatch):
    trained_on, train = [], experiment.train

    def note_folders(configuration, folders, *others):
        trained_on.append([folder.parent.name for folder in folders])
        train(configuration, folders, *others)

    monkeypatch.setattr(experiment, "train", note_folders)
    unlabelled = str(tmp_path / "unlabelled" / "images")
    rows = program("--configurations", "student", "synthetic", "--unlabelled", unlabelled)
    assert [(row["configuration"], row["size"]) for row in rows] == [
        *(("baseline", "32"), ("baseline", "64")),
        *(("parent", "32"), ("parent", "weighted")),
        *(("student", "32"), ("student", "weighted")),
        *(("synthetic", "32"), ("synthetic", "weighted")),
    ]
    assert all(row["left_out"] == "c" and int(row["n_images"]) == 4 for row in rows)
    assert rows[3]["cldice_difference"]
    assert rows[2]["training_minutes"] != rows[4]["training_minutes"]
    assert rows[2]["auc_pr"] != rows[4]["auc_pr"]
    assert trained_on[:2] == [["a", "b"]] * 2
    assert len(trained_on[2]) == 3  # the images that the parent has labelled, too
    assert trained_on[3] == ["a", "b", "synthetic"]
    (images,) = (tmp_path / "work").glob("*/synthetic/train")
    assert {sample.dataset for sample in samples.find(images)} == {"phantom"}
    monkeypatch.setattr(experiment, "train", None)  # nothing is trained again
    assert program("--configurations", "baseline", "--unlabelled", unlabelled) == rows[:2]


def test_other_weights_or_images_in_the_folder_are_other_networks(params, tmp_path, monkeypatch):
    params = with_params(params, {"data.folder.path": str(tmp_path)})
    names = argparse.Namespace(sets=["drive", "hrf", "folder"], steps=1, unlabelled=None)
    before = experiment.fingerprint(names, params)
    (tmp_path / "a.png").write_bytes(b"another image")
    after = experiment.fingerprint(names, params)
    assert after != before
    monkeypatch.setattr(experiment, "WEIGHTS", "models/README.md")
    assert experiment.fingerprint(names, params) != after


def test_parent_goes_first():
    student = f"{experiment.PARENT}, self-training"
    assert experiment.order_of([student, experiment.PARENT]) == [experiment.BASELINE, experiment.PARENT, student]


def test_unlabelled_images_are_asked_for(monkeypatch, capsys):
    monkeypatch.setattr(
        sys, "argv", ["program", "drive", "hrf", "fives", "--configurations", f"{experiment.PARENT}, self-training"]
    )
    with pytest.raises(SystemExit):
        experiment.main()
    assert "expected --unlabelled" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["drive", "hrf", "clinic"], "SET: expected some of drive, chase_db1, .*, folder, got clinic$"),
        (
            ["drive", "hrf", "fives", "--left-out", "stare"],
            "--left-out: expected some of drive, hrf, fives, got stare$",
        ),
    ],
)
def test_unknown_data_sets_are_named(names, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["program", *names])
    with pytest.raises(SystemExit):
        experiment.main()
    assert re.search(said, capsys.readouterr().err.strip())


def test_images_of_one_patient_are_not_on_both_sides(tmp_path):
    rows = {"a/train": "p", "a/validation": "q", "b/test": "q"}
    for place, group in rows.items():
        image = generator.generate(1, 0, 128, 128)
        labelled = samples.LabelledImage("1", group, image.image, image.truth, image.fov, None)
        samples.write_labelled_image(tmp_path / place, "set", labelled)
        samples.write_table(tmp_path / place, [("set", "1", group)])
    with pytest.raises(ValueError, match="expected different patients, got 1 on both sides, the first q"):
        experiment.check_different_patients([tmp_path / "a"], tmp_path / "b" / "test")
