import numpy as np
import pytest

from src.common import probability_levels

EVERY = np.arange(probability_levels.LEVELS, dtype=np.uint16)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_level_is_its_own_probability(dtype):
    assert np.array_equal(probability_levels.to_levels((EVERY / 65535).astype(dtype)), EVERY)


@pytest.mark.parametrize("threshold", [0.0, 0.2, 0.5, 100 / 65535, 1 - 1e-9, 1.0])
def test_level_is_above_where_its_probability_is(threshold):
    assert np.array_equal(probability_levels.above(EVERY, threshold), threshold < EVERY / 65535)
