import numpy as np
import pytest

from experiments import ablation_synthetic
from src.data.entries import synthetic_entries

CHANGES = [change for changes in ablation_synthetic.PARTS.values() for change in changes]


@pytest.fixture(scope="module", autouse=True)
def generated_once() -> None:
    """Each image is generated anew here."""


@pytest.mark.parametrize(("module", "name", "value"), CHANGES, ids=[name for _, name, _ in CHANGES])
def test_changed_constant_of_the_generator_exists_with_another_value(module, name, value):
    assert np.shape(getattr(module, name))[1:] == np.shape(value)[1:]
    assert getattr(module, name) != value


def test_removed_part_is_removed_for_one_image_only():
    load = synthetic_entries(1, 1, 128, 128, 1).train[0].load
    complete = load()
    without = ablation_synthetic.generate_without("sharpening, noise and JPEG compression", load)
    assert not np.array_equal(without.image, complete.image)
    assert np.array_equal(without.truth, complete.truth)
    assert np.array_equal(ablation_synthetic.generate_without(ablation_synthetic.NOTHING, load).image, complete.image)
