"""Drawn photographs: the same in every process, plausible, and true to their truth."""

import hashlib
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import ablation
from src import download, fundus, phantom, strokes, twigs, vessels

ROOT = Path(__file__).resolve().parents[1]
SEED = 1
AREA = 0.02 * np.pi * vessels.FOV_RADIUS**2


def digest(drawn: phantom.Phantom) -> str:
    """SHA-256 of all three arrays."""
    return hashlib.sha256(b"".join(array.tobytes() for array in drawn)).hexdigest()


@pytest.fixture(scope="module")
def eyes() -> list[phantom.Phantom]:
    """Eight photographs of DRIVE's size."""
    return [phantom.draw(SEED, index, 584, 565) for index in range(8)]


def test_another_process_draws_the_same_bytes(eyes):
    code = (
        "import cv2; cv2.setNumThreads(1)\nfrom src import phantom\nimport hashlib\n"
        f"drawn = phantom.draw({SEED}, 3, 584, 565)\n"
        "print(hashlib.sha256(b''.join(array.tobytes() for array in drawn)).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert other.stdout.strip() == digest(eyes[3])


def test_order_of_drawing_does_not_matter(eyes):
    phantom.draw(7, 7, 200, 200)
    assert digest(phantom.draw(SEED, 0, 584, 565)) == digest(eyes[0])


def test_every_index_and_seed_draws_another_eye(eyes):
    other_seed = phantom.draw(SEED + 1, 0, 584, 565)
    assert len({digest(eye) for eye in [*eyes, other_seed]}) == len(eyes) + 1


def test_vessel_share_is_plausible(eyes):
    shares = [eye.truth.mean() for eye in eyes]
    assert min(shares) > 0.05
    assert max(shares) < 0.12
    assert 0.07 < np.mean(shares) < 0.09


def test_fov_share_is_plausible(eyes):
    shares = [eye.fov.mean() for eye in eyes]
    assert min(shares) > 0.60
    assert max(shares) < 0.70


def test_truth_lies_inside_the_fov(eyes):
    assert not any((eye.truth & ~eye.fov).any() for eye in eyes)


def test_photograph_is_black_outside_the_fov(eyes):
    assert not any(eye.image[~eye.fov].any() for eye in eyes)


def test_colours_are_those_of_a_fundus(eyes):
    for eye in eyes:
        red, green, blue = eye.image[eye.fov].mean(axis=0)
        assert red > green > blue


def drawn_with(module: ModuleType, changes: dict[str, object]) -> phantom.Phantom:
    """A small photograph, drawn with other constants."""
    with mock.patch.multiple(module, **changes):
        return phantom.draw(SEED, 0, 292, 283)


def test_choroidal_vessels_are_seen_and_not_labelled():
    seen, hidden = (drawn_with(fundus, {"TESSELLATED": 1.0, "NET": (net, net)}) for net in (0.05, 0.0))
    assert (seen.truth == hidden.truth).all()
    assert np.abs(seen.image.astype(int) - hidden.image)[seen.fov].mean() > 0.5


def test_the_rim_is_dark_where_what_is_lit_ends_before_the_field():
    shifted, centred = (drawn_with(phantom, {"APERTURE": (shift, shift)}) for shift in (0.1, 0.0))
    dark = [np.mean(eye.image[eye.fov].max(axis=1) < 10) for eye in (shifted, centred)]
    assert dark[0] > 0.02 > dark[1]


@pytest.mark.parametrize("part", [part for part, changes in ablation.PARTS.items() if changes])
def test_every_part_that_an_ablation_leaves_out_is_there(part):
    loads = [entry.load for entry in download.phantoms(8, 1, 128, 128, SEED).train]
    pairs = [(load(), ablation.without(part, load)) for load in loads]
    assert any((one.image != other.image).any() or (one.truth != other.truth).any() for one, other in pairs)


def contrast(eye: phantom.Phantom, channel: int, truth: np.ndarray) -> float:
    """How much darker vessels are than the ground within a few pixels of them, as a share."""
    touching = cv2.dilate(eye.truth.astype(np.uint8), np.ones((5, 5))).astype(bool)
    ground = (~touching & eye.fov).astype(np.float32)
    values = eye.image[..., channel].astype(np.float32)
    around = cv2.GaussianBlur(values * ground, (0, 0), 8) / (cv2.GaussianBlur(ground, (0, 0), 8) + 1e-3)
    return float(1 - np.median(values[truth] / np.maximum(around[truth], 1)))


def test_vessels_are_darker_than_their_surroundings(eyes):
    for eye in eyes:
        assert contrast(eye, 1, eye.truth) > 0.05


def test_green_shows_vessels_better_than_red(eyes):
    for eye in eyes:
        assert contrast(eye, 1, eye.truth) > contrast(eye, 0, eye.truth)


def test_wide_vessels_are_darker_than_thin_ones(eyes):
    for eye in eyes:
        wide = cv2.erode(eye.truth.astype(np.uint8), np.ones((3, 3))).astype(bool)
        assert contrast(eye, 1, wide) > contrast(eye, 1, eye.truth)


def test_truth_has_thin_and_wide_vessels(eyes):
    for eye in eyes:
        inside = cv2.distanceTransform(eye.truth.astype(np.uint8), cv2.DIST_L2, 5)
        assert 2.5 < inside.max() < 12
        opened = cv2.morphologyEx(eye.truth.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3)))
        assert 0.02 < 1 - opened.sum() / eye.truth.sum() < 0.6


@pytest.mark.parametrize("size", [(300, 400), (400, 300), (97, 131), (96, 96), (150, 600)])
def test_any_size_can_be_drawn(size):
    eye = phantom.draw(SEED, 0, *size)
    assert (eye.image.shape, eye.image.dtype) == ((*size, 3), np.uint8)
    assert (eye.truth.shape, eye.truth.dtype) == (size, bool)
    assert (eye.fov.shape, eye.fov.dtype) == (size, bool)
    assert eye.truth.any()


def test_a_larger_photograph_shows_the_same_eye(eyes):
    large = phantom.draw(SEED, 2, 1168, 1130).truth
    small = cv2.resize(large.astype(np.float32), (565, 584), interpolation=cv2.INTER_AREA) > 0.5
    both = (small & eyes[2].truth).sum()
    assert 2 * both / (small.sum() + eyes[2].truth.sum()) > 0.9


@pytest.mark.parametrize("size", [(95, 400), (400, 95), (0, 0), (-5, 300)])
def test_too_small_a_size_is_refused(size):
    with pytest.raises(ValueError, match=rf"at least 96 pixels a side, got {size[0]}x{size[1]}"):
        phantom.draw(SEED, 0, *size)


@given(radius=st.floats(0.5, 6.0), ratio=st.floats(0.05, 1.0))
def test_daughters_obey_murrays_law(radius, ratio):
    larger, smaller = vessels.daughters(radius, ratio)
    assert larger**3 + smaller**3 == pytest.approx(radius**3)
    assert smaller / larger == pytest.approx(ratio)


def test_equal_daughters_part_symmetrically():
    larger, smaller = vessels.daughters(2.0, 1.0)
    bend, turn = vessels.branch_angles(2.0, larger, smaller)
    assert bend == pytest.approx(turn)
    assert np.degrees(bend + turn) == pytest.approx(74.9, abs=0.1)  # Murray 1926: about 75 degrees


def test_the_smaller_daughter_turns_further():
    larger, smaller = vessels.daughters(2.0, 0.4)
    bend, turn = vessels.branch_angles(2.0, larger, smaller)
    assert 0 < bend < turn < np.pi / 2


@pytest.fixture
def anatomy() -> vessels.Anatomy:
    """A left-handed eye of ordinary proportions."""
    return vessels.Anatomy(complex(-190, -20), complex(10, 5), 38.0, 1.0)


@pytest.fixture
def tree(anatomy) -> list[vessels.Vessel]:
    """Its vessels."""
    return vessels.grow(np.random.default_rng(5), anatomy, 0.08 * np.pi * vessels.FOV_RADIUS**2)


@pytest.mark.parametrize("kind", ["tree", "grown"])
def test_vessels_only_get_thinner(request, kind):
    assert all((np.diff(vessel.radius) < 0).all() for vessel in request.getfixturevalue(kind))


@pytest.mark.parametrize("kind", ["tree", "grown"])
def test_vessels_spare_the_fovea(request, anatomy, kind):
    nearest = min(np.abs(vessel.points - anatomy.fovea).min() for vessel in request.getfixturevalue(kind))
    assert nearest > vessels.AVASCULAR[0] * abs(anatomy.fovea - anatomy.disc)


def test_the_widest_vessels_begin_in_the_disc(tree, anatomy):
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
def grown(anatomy, tree) -> list[vessels.Vessel]:
    """The twigs between them."""
    return twigs.fill(np.random.default_rng(6), anatomy, tree, AREA)


def test_twigs_cover_the_area(grown):
    assert AREA <= sum(map(vessels.covered, grown)) < 1.1 * AREA


def test_no_twig_grows_without_area(anatomy, tree):
    assert twigs.fill(np.random.default_rng(6), anatomy, tree, 0.0) == []


def test_every_twig_leaves_a_wider_vessel_of_its_kind(tree, grown):
    for index, twig in enumerate(grown):
        kin = [vessel for vessel in [*tree, *grown[:index]] if vessel.artery == twig.artery]
        away = np.abs(np.concatenate([vessel.points for vessel in kin]) - twig.points[0])
        radius = np.concatenate([vessel.radius for vessel in kin])
        assert away.min() < 0.01
        assert radius[away < 0.01].max() > twig.radius[0]


def test_twigs_fill_the_emptiest_ground(tree, grown):
    grid = np.add.outer(1j * np.arange(-180, 181, 20), np.arange(-180, 181, 20)).ravel()

    def gap(drawn: list[vessels.Vessel]) -> float:
        points = np.concatenate([vessel.points for vessel in drawn])
        return np.quantile(np.abs(points - grid[:, None]).min(axis=1), 0.95)

    assert gap([*tree, *grown]) < 0.7 * gap(tree)


def test_crossing_vessels_are_darker_than_each():
    line = np.linspace(-50, 50, 40)
    flat = np.ones(40)
    vein = vessels.Vessel(line + 0j, 3 * flat, flat, False)
    artery = vessels.Vessel(1j * line, 2 * flat, flat, True)
    density = strokes.layers([vein, artery], (120, 120)).density
    centre = density.shape[0] // 2
    assert density[centre, centre] > density[centre, centre - 80] > 0
    assert density[centre, centre] > density[centre - 80, centre] > 0


def test_the_label_is_as_wide_as_the_vessel():
    line = np.linspace(-50, 50, 40)
    vein = vessels.Vessel(line + 0j, 3 * np.ones(40), np.ones(40), False)
    cover = strokes.layers([vein, vein._replace(artery=True)], (120, 120)).cover
    width = (cover[:, cover.shape[1] // 2] > 0).sum() / strokes.SUPERSAMPLING
    assert width == pytest.approx(6 + strokes.LABEL_MARGIN, abs=0.5)


@pytest.mark.parametrize("shape", [(100, 140), (33, 20)])
def test_noise_is_standardised(shape):
    field = fundus.noise(np.random.default_rng(0), shape, 9.0)
    assert field.shape == shape
    assert field.mean() == pytest.approx(0, abs=1e-4)
    assert field.std() == pytest.approx(1, abs=1e-4)


def test_some_but_not_all_eyes_have_lesions(anatomy):
    frame = fundus.plane(540, 540)
    plain = np.full((540, 540, 3), 0.5, np.float32)
    drawn = [fundus.add_lesions(np.random.default_rng(index), anatomy, frame, plain) for index in range(12)]
    assert 2 <= sum(not np.allclose(image, plain) for image in drawn) <= 10
