import numpy as np
import pytest

from experiments import leave_one_dataset_out as experiment
from experiments.leave_one_dataset_out import ALL_SIZES, CONFIGURATIONS, ImageScores
from experiments.short_training import with_params
from src.common import probability_levels
from src.data import samples
from src.inference import segmentation
from src.inference.sliding_window import InferenceConfig, SlidingWindowPredictor
from src.metrics import probability_metrics
from src.params import load_params

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
