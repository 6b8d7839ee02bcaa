import numpy as np
import pytest

from src.common import image_geometry


@pytest.mark.parametrize("place", [(slice(3, 9), slice(2, 6)), (slice(2, 6), slice(3, 9))])
def test_fov_diameter_is_the_larger_side(place):
    fov = np.zeros((12, 12), bool)
    fov[place] = True
    assert image_geometry.fov_diameter(fov) == 6


def test_empty_fov_has_no_diameter():
    assert image_geometry.fov_diameter(np.zeros((12, 9), bool)) == 0


@pytest.mark.parametrize(("shape", "got"), [((40, 50), "50x40"), ((30,), "30"), ((30, 50, 1), "50x30x1")])
def test_map_of_another_size_is_named_as_width_x_height(shape, got):
    image_geometry.check_like_image("a.png", (30, 50), (30, 50, 3))
    with pytest.raises(ValueError, match=f"^a.png: expected 50x30 like the image, got {got}$"):
        image_geometry.check_like_image("a.png", shape, (30, 50, 3))
