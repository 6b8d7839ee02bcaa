import json
import subprocess
import sys

import cv2
import numpy as np
import pytest

from src import baselines, metrics, phantom, samples
from src.params import Baselines, Preprocess
from src.preprocess import Prepared
from stages import baselines as stage

NAMES = ["frangi", "sato", "matched_filter"]
PREPARATION = Preprocess(fov_diameter=200, clahe=0)


def disc(side=121, radius=52):
    y, x = np.mgrid[:side, :side] - side // 2
    return x**2 + y**2 <= radius**2


def line(angle, side=121, width=4):
    """A straight line through the centre, (side, side) bool, `angle` in degrees."""
    y, x = np.mgrid[:side, :side] - side // 2
    return np.abs(x * np.sin(np.radians(angle)) - y * np.cos(np.radians(angle))) <= width / 2


def grey(levels, fov):
    """The prepared photograph with these grey levels in the FOV, black outside."""
    return Prepared(np.repeat(np.where(fov, levels, 0).astype(np.uint8)[..., None], 3, axis=2), fov)


def auc(answers, truths, fovs):
    pairs = zip(answers, truths, fovs, strict=True)
    return metrics.auc_roc(sum((metrics.histogram(samples.to_levels(a), t, f) for a, t, f in pairs), metrics.EMPTY))


def write_subset(root, numbers):
    """Drawn photographs of 210 pixels a side."""
    for number in numbers:
        drawn, id_ = phantom.draw(1, number, 210, 210), f"{number:02d}"
        samples.write_eye(root, "phantom", samples.Eye(id_, id_, *drawn, None))
    samples.write_table(root, [("phantom", f"{number:02d}", f"{number:02d}") for number in numbers])


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    write_subset(root / "train", range(3))
    write_subset(root / "test", range(3, 5))
    return root


def run_stage(raw, out, names=NAMES):
    stage.main(raw / "train", raw / "test", out, Baselines(filters=names), PREPARATION)
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


def test_filters_are_those_that_params_allow():
    assert list(baselines.FILTERS) == NAMES
    assert Baselines(filters=NAMES).filters == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("angle", [0, 15, 37, 45, 82, 90, 120, 157])
def test_dark_line_of_any_orientation_is_answered(name, angle):
    fov, drawn = disc(), line(angle)
    answer = baselines.response(name, grey(np.where(drawn, 90, 150), fov), 540)
    away = fov & ~cv2.dilate(drawn.astype(np.uint8), np.ones((25, 25))).astype(bool)
    on = answer[line(angle, width=1) & disc(radius=40)]
    assert on.min() > 0.3
    assert on.min() > 10 * answer[away].max()


@pytest.mark.parametrize("name", NAMES)
def test_orientations_are_answered_alike(name):
    fov = disc()
    centres = [baselines.response(name, grey(np.where(line(a), 110, 150), fov), 540)[60, 60] for a in (0, 22, 45, 90)]
    assert max(centres) < 1.25 * min(centres)


@pytest.mark.parametrize("name", NAMES)
def test_bright_line_is_answered_far_less_than_a_dark_one(name):
    fov, drawn = disc(), line(30)
    bright, dark = (baselines.response(name, grey(np.where(drawn, on, 120), fov), 540) for on in (170, 70))
    on = line(30, width=1) & disc(radius=40)
    assert bright[on].max() < 0.25 * dark[on].min()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fov_diameter", [130, 540])
def test_added_constant_changes_nothing(name, fov_diameter):
    fov = disc()
    levels = np.where(line(30), 90, 150) + np.random.default_rng(0).integers(-9, 10, fov.shape)
    darker, lighter = (baselines.response(name, grey(levels + more, fov), fov_diameter) for more in (-40, 40))
    assert np.allclose(darker, lighter, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("level", [30, 128, 250])
@pytest.mark.parametrize("fov_diameter", [130, 540])
def test_border_of_a_uniform_fov_is_not_answered(name, level, fov_diameter):
    fov = disc()
    assert baselines.response(name, grey(level, fov), fov_diameter).max() < 2e-3


@pytest.mark.parametrize("name", NAMES)
def test_dark_rim_is_not_answered(name):
    fov = disc()
    assert baselines.response(name, grey(np.where(disc(radius=50), 150, 60), fov), 540).max() < 0.02


@pytest.mark.parametrize("fov", [disc(), line(0, width=3), np.eye(121, dtype=bool), np.ones((121, 121), bool)])
def test_fill_keeps_the_inside_and_stays_in_its_range(fov):
    levels = np.random.default_rng(0).normal(0, 30, fov.shape).astype(np.float32)
    filled = baselines.fill(levels, fov, 1.0)
    inner = fov & disc(radius=40) if fov.sum() > 500 else fov
    assert filled.dtype == np.float32
    assert np.array_equal(filled[inner], levels[inner])
    assert levels[fov].min() - 1e-3 <= filled.min()
    assert filled.max() <= levels[fov].max() + 1e-3


@pytest.mark.parametrize("angle", [0.0, 0.4, np.pi / 2])
@pytest.mark.parametrize("scale", [0.2, 1.0, 2.0])
def test_matched_kernel_is_a_contrast_of_two_means(angle, scale):
    kernel = baselines.matched_kernel(angle, scale)
    assert kernel.sum() == pytest.approx(0, abs=1e-5)
    assert kernel.clip(0).sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel[::-1, ::-1], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_answer_does_not_depend_on_the_scale(name):
    small, large = (
        baselines.response(name, grey(np.where(line(0, side, width), 100, 150), disc(side, radius)), diameter)
        for side, width, radius, diameter in ((121, 4, 52, 540), (241, 8, 104, 1080))
    )
    assert small[60, 60] == pytest.approx(large[120, 120], rel=0.15)


@pytest.mark.parametrize("name", NAMES)
def test_map_has_the_native_size_and_is_zero_outside_the_fov(name):
    drawn = phantom.draw(1, 0, 150, 140)
    for fov_diameter in (64, 130, 300):
        answer = baselines.vessel_map(name, drawn.image, drawn.fov, fov_diameter, 0.0)
        assert answer.shape == (150, 140)
        assert answer.dtype == np.float32
        assert 0 <= answer.min() < answer.max() <= 1
        assert not answer[~drawn.fov].any()


@pytest.mark.parametrize("name", NAMES)
def test_vessels_of_drawn_photographs_are_found(name):
    drawn = [phantom.draw(2, number, 584, 565) for number in range(3)]
    answers = [baselines.vessel_map(name, d.image, d.fov, 540, 0.0) for d in drawn]
    assert auc(answers, [d.truth for d in drawn], [d.fov for d in drawn]) > 0.8


def test_unknown_filter_lists_the_known():
    with pytest.raises(ValueError, match="expected some of frangi, sato, matched_filter, got 'gabor'"):
        baselines.response("gabor", grey(128, disc()), 540)


def test_stage_writes_every_map_and_the_thresholds(raw, tmp_path):
    written = run_stage(raw, tmp_path / "out")
    maps = {f"{name}/phantom/{number:02d}.png" for name in NAMES for number in (3, 4)}
    assert set(written) == maps | {"thresholds.json"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    for sample in samples.find(raw / "test"):
        fov = samples.fov(sample)
        expected = baselines.vessel_map("sato", samples.image(sample), fov, 200, 0.0)
        levels = samples.read_levels(tmp_path / "out" / "sato" / "phantom" / f"{sample.id}.png")
        assert np.array_equal(levels, samples.to_levels(expected))


def test_thresholds_are_those_of_the_training_photographs(raw, tmp_path):
    thresholds = json.loads(run_stage(raw, tmp_path / "out")["thresholds.json"])
    for name in NAMES:
        total = metrics.EMPTY
        for sample in samples.find(raw / "train"):
            fov = samples.fov(sample)
            answer = baselines.vessel_map(name, samples.image(sample), fov, 200, 0.0)
            total += metrics.histogram(samples.to_levels(answer), samples.truth(sample), fov)
        assert thresholds[name] == pytest.approx(metrics.best_threshold(total), abs=1e-6)


def test_stage_again_writes_the_same_bytes_and_leaves_nothing_old(raw, tmp_path):
    first = run_stage(raw, tmp_path / "out")
    (tmp_path / "out" / "old.png").touch()
    assert run_stage(raw, tmp_path / "out") == first


def test_no_filter_gives_no_map(raw, tmp_path):
    assert run_stage(raw, tmp_path / "out", []) == {"thresholds.json": b"{}\n"}


def test_failure_leaves_what_was_there(raw, tmp_path):
    first = run_stage(raw, tmp_path / "out", ["sato"])
    with pytest.raises(FileNotFoundError, match=r"samples\.csv: missing"):
        stage.main(raw / "train", raw / "none", tmp_path / "out", Baselines(filters=["sato"]), PREPARATION)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out" / "thresholds.json").read_bytes() == first["thresholds.json"]


def test_stage_does_not_import_tensorflow():
    code = "import sys, stages.baselines; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
