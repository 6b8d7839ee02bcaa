import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.synthetic.branching import branch_angles, daughter_radii


@given(radius=st.floats(0.5, 6.0), ratio=st.floats(0.05, 1.0))
def test_daughters_obey_murrays_law(radius, ratio):
    larger, smaller = daughter_radii(radius, ratio)
    assert larger**3 + smaller**3 == pytest.approx(radius**3)
    assert smaller / larger == pytest.approx(ratio)


def test_equal_daughters_branch_symmetrically():
    larger, smaller = daughter_radii(2.0, 1.0)
    larger_angle, smaller_angle = branch_angles(2.0, larger, smaller)
    assert larger_angle == pytest.approx(smaller_angle)
    assert np.degrees(larger_angle + smaller_angle) == pytest.approx(74.9, abs=0.1)  # Murray 1926: about 75 degrees


def test_smaller_daughter_has_the_larger_angle():
    larger, smaller = daughter_radii(2.0, 0.4)
    larger_angle, smaller_angle = branch_angles(2.0, larger, smaller)
    assert 0 < larger_angle < smaller_angle < np.pi / 2
