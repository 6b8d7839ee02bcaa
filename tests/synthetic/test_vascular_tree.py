import numpy as np
import pytest

from src.synthetic import small_vessels, vascular_tree
from src.synthetic.anatomy import AVASCULAR_RADIUS, FOV_RADIUS, Anatomy, Vessel, covered_area

AREA = 0.02 * np.pi * FOV_RADIUS**2


@pytest.fixture
def anatomy() -> Anatomy:
    """A left eye of ordinary proportions."""
    return Anatomy(complex(-190, -20), complex(10, 5), 38.0, 1.0)


@pytest.fixture
def tree(anatomy) -> list[Vessel]:
    """Its vascular tree."""
    return vascular_tree.grow_tree(np.random.default_rng(5), anatomy, 0.08 * np.pi * FOV_RADIUS**2)


@pytest.mark.parametrize("kind", ["tree", "small"])
def test_vessels_only_get_thinner(request, kind):
    assert all((np.diff(vessel.radius) < 0).all() for vessel in request.getfixturevalue(kind))


@pytest.mark.parametrize("kind", ["tree", "small"])
def test_vessels_avoid_the_foveal_avascular_zone(request, anatomy, kind):
    nearest = min(np.abs(vessel.points - anatomy.fovea).min() for vessel in request.getfixturevalue(kind))
    assert nearest > AVASCULAR_RADIUS[0] * abs(anatomy.fovea - anatomy.disc)


def test_widest_vessels_begin_in_the_optic_disc(tree, anatomy):
    widest = sorted(tree, key=lambda vessel: vessel.radius[0])[-4:]
    assert all(abs(vessel.points[0] - anatomy.disc) < anatomy.disc_radius for vessel in widest)


def test_there_are_arteries_and_veins_and_veins_are_wider(tree):
    artery = max(vessel.radius[0] for vessel in tree if vessel.artery)
    vein = max(vessel.radius[0] for vessel in tree if not vessel.artery)
    assert 0.5 < artery / vein < 0.95


def test_arcades_pass_above_and_below_the_fovea(tree, anatomy):
    points = np.concatenate([vessel.points for vessel in tree if vessel.radius[0] > 2.5])
    across = (points[np.abs(points.real - anatomy.fovea.real) < 10] - anatomy.fovea).imag
    assert across.min() < -100
    assert across.max() > 100


@pytest.fixture
def small(anatomy, tree) -> list[Vessel]:
    """The small vessels between them."""
    return small_vessels.grow_small_vessels(np.random.default_rng(6), anatomy, tree, AREA)


def test_small_vessels_cover_the_area(small):
    assert AREA <= sum(map(covered_area, small)) < 1.1 * AREA


def test_no_small_vessel_grows_without_area(anatomy, tree):
    assert small_vessels.grow_small_vessels(np.random.default_rng(6), anatomy, tree, 0.0) == []


def test_every_small_vessel_leaves_a_wider_vessel_of_its_kind(tree, small):
    for index, vessel in enumerate(small):
        kin = [other for other in [*tree, *small[:index]] if other.artery == vessel.artery]
        away = np.abs(np.concatenate([other.points for other in kin]) - vessel.points[0])
        radius = np.concatenate([other.radius for other in kin])
        assert away.min() < 0.01
        assert radius[away < 0.01].max() > vessel.radius[0]


def test_small_vessels_fill_the_largest_gaps(tree, small):
    grid = np.add.outer(1j * np.arange(-180, 181, 20), np.arange(-180, 181, 20)).ravel()

    def gap(vessels: list[Vessel]) -> float:
        points = np.concatenate([vessel.points for vessel in vessels])
        return np.quantile(np.abs(points - grid[:, None]).min(axis=1), 0.95)

    assert gap([*tree, *small]) < 0.7 * gap(tree)
