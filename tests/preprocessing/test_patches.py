from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from src.preprocessing import patches

SIDES = st.integers(1, 90)
SIZES = st.integers(1, 40)


@settings(deadline=None)
@given(SIDES, SIDES, SIZES, st.floats(0.05, 1))
def test_aggregation_undoes_extraction(height, width, size, step):
    array = np.random.default_rng(0).random((height, width), np.float32)
    corners = patches.positions(array.shape, size, max(1, int(size * step)))
    aggregator = patches.PatchAggregator(array.shape, size)
    for corner in corners:
        aggregator.add(patches.extract_patch(array, corner, size), corner)
    assert np.allclose(aggregator.result(), array, atol=1e-5)


@given(SIDES, SIZES, st.integers(1, 40))
def test_patches_stay_inside_and_end_with_the_image(length, size, stride):
    found = patches.starts(length, size, stride)
    assert found[0] == 0
    assert found[-1] == max(length - size, 0)
    assert found == sorted(set(found))
    assert all(b - a <= stride for a, b in pairwise(found))


def test_positions_are_row_by_row():
    assert patches.positions((5, 4), 3, 2).tolist() == [[0, 0], [0, 1], [2, 0], [2, 1]]


@pytest.mark.parametrize(("length", "size", "stride"), [(0, 4, 4), (8, 0, 4), (8, 4, 0)])
def test_sides_and_strides_below_one_are_rejected(length, size, stride):
    with pytest.raises(ValueError, match="at least 1"):
        patches.starts(length, size, stride)


@pytest.mark.parametrize(("dtype", "beyond"), [(np.uint8, patches.NEUTRAL), (np.bool_, False), (np.float32, 0.0)])
def test_patch_is_neutral_beyond_the_image(dtype, beyond):
    patch = patches.extract_patch(np.ones((2, 3), dtype), (-1, -2), 6)
    expected = np.full((6, 6), beyond, dtype)
    expected[1:3, 2:5] = 1
    assert np.array_equal(patch, expected)


@pytest.mark.parametrize("position", [(-9, 0), (0, -9), (9, 9)])
def test_patch_outside_the_image_is_neutral(position):
    assert (patches.extract_patch(np.zeros((5, 5, 3), np.uint8), position, 4) == patches.NEUTRAL).all()


def test_centre_of_a_patch_with_context_is_the_patch():
    image = np.random.default_rng(0).integers(0, 255, (50, 40, 3), dtype=np.uint8)
    wide = patches.extract_with_context(image, (3, 20), 16, 28)
    assert wide.shape == (28, 28, 3)
    assert np.array_equal(wide[6:22, 6:22], patches.extract_patch(image, (3, 20), 16))


@pytest.mark.parametrize(("size", "context", "side"), [(256, 1.7, 436), (256, 1.0, 256), (64, 1.01, 64)])
def test_context_is_even_and_never_below_the_patch(size, context, side):
    assert patches.context_side(size, context) == side


def test_only_patches_with_enough_field_of_view_are_kept():
    fov = np.zeros((8, 8), bool)
    fov[:4, :4] = True
    fov[4, 4] = True
    assert patches.positions_in_fov(fov, 4, 4, 0.5).tolist() == [[0, 0]]
    assert patches.positions_in_fov(fov, 4, 4, 0.0).tolist() == [[0, 0], [4, 4]]


def test_blending_window_is_positive_symmetric_and_highest_in_the_centre():
    weight = patches.blending_window(17)
    assert weight.min() > 0
    assert np.allclose(weight, weight[::-1].T, atol=1e-6)
    assert weight.argmax() == 17 * 17 // 2


def test_map_with_uncovered_pixels_is_rejected():
    aggregator = patches.PatchAggregator((4, 6), 4)
    aggregator.add(np.ones((4, 4), np.float32), (0, 0))
    with pytest.raises(ValueError, match="8 pixels in none"):
        aggregator.result()


def test_patch_of_another_size_is_rejected():
    with pytest.raises(ValueError, match=r"expected shape \(4, 4\), got \(3, 4\)"):
        patches.PatchAggregator((4, 6), 4).add(np.ones((3, 4), np.float32), (0, 0))


def test_centre_of_a_square_array_is_extracted():
    array = np.arange(36).reshape(6, 6)
    assert np.array_equal(patches.extract_centre(array, 2), [[14, 15], [20, 21]])
