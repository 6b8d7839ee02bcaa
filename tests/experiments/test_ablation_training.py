import numpy as np
import pytest

from experiments import ablation_training

GROUPS = np.array(["a", "b", "c", "d"])


def test_difference_is_that_of_means_over_seeds_with_the_range_over_seeds():
    base = np.full((2, 4), 0.5)
    values = base + np.array([[0.01], [0.03]])
    found = ablation_training.difference("f1", values, base, GROUPS)
    assert list(found) == [
        *("f1_difference", "f1_difference_low", "f1_difference_high"),
        *("f1_difference_seed_min", "f1_difference_seed_max"),
    ]
    assert list(found.values()) == pytest.approx([0.02, 0.02, 0.02, 0.01, 0.03])


def test_difference_of_one_seed_has_no_range():
    base = np.full((1, 4), 0.5)
    found = ablation_training.difference("auc_pr", base + 0.01, base, GROUPS)
    assert list(found) == ["auc_pr_difference", "auc_pr_difference_low", "auc_pr_difference_high"]
    assert list(found.values()) == pytest.approx([0.01, 0.01, 0.01])


def test_halves_are_joined_image_by_image():
    half = ablation_training.Scores(np.zeros((3, 2)), np.ones((3, 2)), np.array(["a", "b"]), 1.5)
    other = ablation_training.Scores(np.ones((3, 1)), np.ones((3, 1)), np.array(["c"]), 1.5)
    joined = ablation_training.join_halves([half, other])
    assert joined.f1.tolist() == [[0, 0, 1]] * 3
    assert joined.groups.tolist() == ["a", "b", "c"]
    assert joined.minutes == 3.0
