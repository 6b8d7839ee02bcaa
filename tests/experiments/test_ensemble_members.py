import numpy as np
import pytest

from experiments import ensemble_members
from experiments.short_training import with_params
from src.data import samples
from src.data.samples import LabelledImage
from src.params import load_params
from src.synthetic import generator


class Member:
    """A network whose probability is a multiple of the darkness of the image."""

    input_shape = (None, 64, 64, 3)

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, images):
        return (self.factor * (1 - images[..., :1] / 255)).astype(np.float32)


@pytest.fixture
def root(tmp_path):
    for number in range(2):
        image = generator.generate(1, number, 128, 128)
        labelled = LabelledImage(str(number), str(number), image.image, image.truth, image.fov, None)
        samples.write_labelled_image(tmp_path, "phantom", labelled)
    samples.write_table(tmp_path, [("phantom", str(number), str(number)) for number in range(2)])
    return tmp_path


@pytest.fixture
def params():
    return with_params(load_params(), {"preprocess.fov_diameter": 128, "evaluate.tta_flips": False})


@pytest.fixture
def predictor(monkeypatch, params):
    monkeypatch.setattr(ensemble_members.architectures, "as_numpy_function", lambda member: member)
    return ensemble_members.MemberPredictor([Member(factor) for factor in (0.2, 0.4, 0.9)], 2, params)


def test_probabilities_of_each_choice_are_averaged(predictor, params, root, monkeypatch):
    pairs = {(sample.id, chosen): levels for sample, chosen, levels in predictor.predict(root)}
    assert predictor.choices == [(1, 2), (1, 3), (2, 3)]
    assert len(pairs) == 2 * 3
    alone = ensemble_members.MemberPredictor([Member(0.3)], 1, params)
    for sample, _, levels in alone.predict(root):
        assert np.abs(levels.astype(int) - pairs[sample.id, (1, 2)]).max() <= 1


def test_each_choice_has_a_threshold_and_scores_of_its_own(predictor, params, root):
    thresholds = predictor.choose_thresholds(root)
    assert thresholds[1, 3] / thresholds[1, 2] == pytest.approx(0.55 / 0.3, rel=0.01)
    scores = ensemble_members.score(predictor, root, thresholds, params)
    assert list(scores) == [((1, 2), "phantom"), ((1, 3), "phantom"), ((2, 3), "phantom")]
    f1 = [values["f1"] for values in scores.values()]
    assert f1[0] > 0.1
    assert f1 == pytest.approx([f1[0]] * 3, abs=1e-3)  # a multiple of the darkness has the same order of pixels
    assert all(0 < values["cldice"] <= 1 for values in scores.values())
