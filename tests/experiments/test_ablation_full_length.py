import csv
import re
import sys

import numpy as np
import pytest

from experiments import ablation_full_length, short_training
from experiments.ablation_training import split_folds
from experiments.results_tables import Experiment
from experiments.short_training import with_params
from src.data import samples
from src.models.tensorflow_setup import tf
from src.params import load_params

pytestmark = pytest.mark.usefixtures("no_workers")

TINY = {
    "patch.size": 96,
    "augment.n_per_patch": 1,
    "augment.elastic_sigma": 0.0,
    "preprocess.fov_diameter": 96,
    "loss.name": "dice",
}


@pytest.fixture
def data(tmp_path):
    """Four images of vertical bars, which the second observer sees shifted by two pixels."""
    rng, folder = np.random.default_rng(0), tmp_path / "data" / "drive"
    bars = np.zeros((96, 96), bool)
    bars[:, ::12] = bars[:, 1::12] = True
    for number in range(4):
        image = np.clip(np.where(bars, 60, 160)[..., None] + rng.normal(0, 4, (96, 96, 3)), 0, 255).astype(np.uint8)
        samples.write_image(folder / "images" / f"{number}.png", image)
        samples.write_bool(folder / "truth" / f"{number}.png", bars)
        samples.write_bool(folder / "fov" / f"{number}.png", np.ones_like(bars))
        samples.write_bool(folder / "second_observer" / f"{number}.png", np.roll(bars, 2, axis=1))
    samples.write_table(tmp_path / "data", [("drive", str(number), str(number)) for number in range(4)])
    return tmp_path / "data"


def test_changes_are_read_as_in_params():
    changes = ablation_full_length.read_changes("loss.name=bce,augment.gamma=0.0,model.encoder_weights=null")
    assert changes == {"loss.name": "bce", "augment.gamma": 0.0, "model.encoder_weights": None}
    assert ablation_full_length.read_changes(ablation_full_length.BASELINE) == {}


@pytest.mark.parametrize("text", ["loss.name", "data.seed=2", "train.seed=3", "+evaluate.threshold=0.4"])
def test_changes_without_effect_are_rejected(text):
    with pytest.raises(ValueError, match=f"expected .*, got '{re.escape(text.partition('=')[0])}'"):
        ablation_full_length.read_changes(text)


def test_new_keys_and_nested_keys_are_set():
    changes = {"+data.custom.clinic": "data/clinic", "data.splits.chase_db1": "all"}
    changed = with_params(load_params(), changes)
    assert changed.data.custom["clinic"] == "data/clinic"
    assert changed.data.splits.chase_db1 == "all"


def test_second_observer_becomes_the_truth(data, tmp_path):
    changed = samples.find(ablation_full_length.with_second_observer(data, tmp_path / "second"))
    for sample, earlier in zip(changed, samples.find(data), strict=True):
        assert (samples.image(sample) == samples.image(earlier)).all()
        assert (samples.truth(sample) == samples.second_observer(earlier)).all()
        assert (samples.truth(sample) != samples.truth(earlier)).any()


def test_missing_second_observer_is_named(data, tmp_path):
    (data / "drive" / "second_observer" / "2.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"second_observer.2\.png: missing; expected images with a second"):
        ablation_full_length.with_second_observer(data, tmp_path / "second")


def test_networks_of_other_images_truths_or_parameters_are_others(data, tmp_path):
    params = load_params()
    changed = with_params(params, {"loss.gamma": 3.0})
    elsewhere = with_params(params, {"evaluate.tta_flips": False})
    second = ablation_full_length.with_second_observer(data, tmp_path / "second")
    first = ablation_full_length.fingerprint(params, data)
    assert first == ablation_full_length.fingerprint(elsewhere, data)
    assert first != ablation_full_length.fingerprint(changed, data)
    assert first != ablation_full_length.fingerprint(params, second)
    samples.write_image(data / "drive" / "images" / "0.png", np.zeros((96, 96, 3), np.uint8))
    assert first != ablation_full_length.fingerprint(params, data)


def darkness(loss: str) -> tf.keras.Model:
    """A network that finds dark pixels, but with BCE finds every pixel."""
    image, red = tf.keras.Input((None, None, 3)), [0.0 if loss == "bce" else -1 / 255, 0.0, 0.0]
    weights = [np.reshape(red, (1, 1, 3, 1)), np.array([0.5 if loss == "bce" else 1.0])]
    return tf.keras.Model(image, tf.keras.layers.Conv2D(1, 1, weights=weights)(image))


def test_each_member_of_an_ensemble_is_trained_with_its_weight_and_their_mean_is_tested(data, tmp_path, monkeypatch):
    trained_on = []

    def train_members(data, log, model, loss, train, state):
        trained_on.append((train.seed, train.skeleton_recall_weight))
        return [darkness("bce" if train.skeleton_recall_weight else "dice")]

    monkeypatch.setattr(ablation_full_length.train_stage, "train_members", train_members)
    ensemble = {"train.ensemble_size": 2, "train.skeleton_recall_weight": [0.0, 0.5]}
    predictor = ablation_full_length.Predictor(list(split_folds(data, tmp_path)), tmp_path)
    columns, means, _ = ablation_full_length.run_trial(
        with_params(load_params(), TINY | ensemble), range(1, 2), predictor
    )
    assert trained_on == [(1, 0.0), (2, 0.5)] * 2
    assert 0.4 < columns["threshold"] < 0.65  # bars have .76 and .5, the rest .37 and .5
    assert means["f1"].mean() == 1


@pytest.mark.parametrize(("high", "f1"), [(0.7, 1), (0.9, pytest.approx(2 / 7))])
def test_hysteresis_is_scored_at_the_threshold_of_all_images(data, tmp_path, monkeypatch, high, f1):
    monkeypatch.setattr(ablation_full_length.train_stage, "train_members", lambda *_: [darkness("dice")])
    changes = TINY | {"evaluate.threshold": 0.9, "evaluate.hysteresis_threshold": high}
    predictor = ablation_full_length.Predictor(list(split_folds(data, tmp_path)), tmp_path)
    columns, means, _ = ablation_full_length.run_trial(with_params(load_params(), changes), range(1, 2), predictor)
    assert means["f1"].mean() == f1  # bars have .8, the rest .4; without bars, all pixels are the best answer
    assert (columns["threshold"] > 0.4) == (high < 0.8)
    assert means["auc_pr"].mean() == 1  # at the threshold of either, no bar is lowered


@pytest.mark.parametrize("n_folds", [2, 3, 4])
def test_each_image_is_held_out_in_one_fold(data, tmp_path, n_folds):
    folds = [
        [{each.id for each in samples.find(root)} for root in fold] for fold in split_folds(data, tmp_path, n_folds)
    ]
    assert sorted("".join("".join(held_out) for _, held_out in folds)) == list("0123")
    assert all(train | held_out == set("0123") and not train & held_out for train, held_out in folds)
    assert {len(held_out) for _, held_out in folds} <= {4 // n_folds, -(-4 // n_folds)}


def test_more_folds_than_patients_are_rejected(data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(ablation_full_length.tensorflow_setup, "configure", lambda *_: None)  # once a process
    monkeypatch.setattr(ablation_full_length, "load_experiments", lambda: {"tiny": Experiment("a network", TINY)})
    arguments = ["tiny", str(data), "--folds", "5", "--results", str(tmp_path / "results.csv")]
    monkeypatch.setattr(sys, "argv", ["ablation_full_length", *arguments])
    with pytest.raises(SystemExit):
        ablation_full_length.main()
    assert "expected at least 5 patients, one for each fold, found 4" in capsys.readouterr().err


def test_each_trial_has_a_row_and_its_difference_from_the_baseline(data, tmp_path, monkeypatch):
    trained_on, tested_on = [], []

    def train_members(data, log, model, loss, train, state):
        trained_on.append((loss.name, train.seed, len(data.train.images)))
        return [darkness(loss.name)]

    def write_subset(root, *arguments):
        halves.append({sample.id for sample in samples.find(root)})
        original_write_subset(root, *arguments)

    def predict_images(network, root, params):
        tested_on.append({sample.id for sample in samples.find(root)})
        return original_predict(network, root, params)

    halves: list[set[str]] = []
    original_write_subset, original_predict = ablation_full_length.patch.write_subset, short_training.predict_images
    monkeypatch.setattr(ablation_full_length.patch, "write_subset", write_subset)
    monkeypatch.setattr(short_training, "predict_images", predict_images)
    monkeypatch.setattr(ablation_full_length.train_stage, "train_members", train_members)
    monkeypatch.setattr(ablation_full_length.tensorflow_setup, "configure", lambda *_: None)  # once a process
    experiments = {"tiny": Experiment("a network", TINY)}
    monkeypatch.setattr(ablation_full_length, "load_experiments", lambda: experiments)
    results = tmp_path / "results.csv"
    trials = ["loss.name=bce", "evaluate.tta_scales=[1.5]"]
    arguments = ["tiny", str(data), *trials, "--seeds", "2", "--results", str(results), "--work", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["ablation_full_length", *arguments])
    ablation_full_length.main()
    assert trained_on == [(loss, seed, 4) for loss in ("dice", "bce") for seed in (1, 2) for _ in range(2)]
    assert all(len(half) == 2 and half | other == set("0123") for half, other in zip(halves, tested_on, strict=False))
    assert tested_on[8:] == tested_on[:4]  # by the networks of the baseline
    written = results.read_bytes()
    ablation_full_length.main()
    assert results.read_bytes() == written
    assert len(trained_on) == 8
    with results.open() as file:
        baseline, trial, larger = csv.DictReader(file)
    assert (baseline["trial"], trial["trial"], trial["n_images"]) == ("baseline", "loss.name=bce", "4")
    assert float(trial["mean_f1"]) < float(baseline["mean_f1"]) == 1
    assert larger["training_minutes"] == baseline["training_minutes"]
    difference = float(trial["mean_f1"]) - float(baseline["mean_f1"])
    assert float(trial["f1_difference"]) == pytest.approx(difference, abs=1e-5)
    arguments.remove(trials[0])
    monkeypatch.setattr(sys, "argv", ["ablation_full_length", *arguments, "--baseline", trials[0]])
    ablation_full_length.main()
    with results.open() as file:
        changed, both = csv.DictReader(file)
    assert [changed["trial"], both["trial"]] == trials
    assert changed["mean_f1"] == both["mean_f1"] == trial["mean_f1"]  # the other trial has the change, too
    assert len(trained_on) == 8
