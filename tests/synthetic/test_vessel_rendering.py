import numpy as np
import pytest

from src.synthetic import vessel_rendering
from src.synthetic.anatomy import Vessel


def test_crossing_vessels_are_darker_than_each():
    line = np.linspace(-50, 50, 40)
    flat = np.ones(40)
    vein = Vessel(line + 0j, 3 * flat, flat, False)
    artery = Vessel(1j * line, 2 * flat, flat, True)
    density = vessel_rendering.render_vessels([vein, artery], (120, 120)).density
    centre = density.shape[0] // 2
    assert density[centre, centre] > density[centre, centre - 80] > 0
    assert density[centre, centre] > density[centre - 80, centre] > 0


def test_label_is_as_wide_as_the_vessel_and_its_margin():
    line = np.linspace(-50, 50, 40)
    vein = Vessel(line + 0j, 3 * np.ones(40), np.ones(40), False)
    label = vessel_rendering.render_vessels([vein, vein._replace(artery=True)], (120, 120)).label
    width = (label[:, label.shape[1] // 2] > 0).sum() / vessel_rendering.SUPERSAMPLING
    assert width == pytest.approx(6 + vessel_rendering.LABEL_MARGIN, abs=0.5)
