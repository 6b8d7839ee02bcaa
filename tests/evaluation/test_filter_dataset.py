import json
import subprocess
import sys

import numpy as np
import pytest

from src.common import probability_levels
from src.data import samples
from src.evaluation import vesselness_filters
from src.metrics import probability_metrics
from src.params import Baselines, Preprocess
from src.synthetic import generator
from stages import baselines as stage

NAMES = ["frangi", "sato", "matched_filter"]
PREPROCESS = Preprocess(fov_diameter=200, clahe_clip_limit=0)


def vessel_map(name, image, fov, fov_diameter, clahe_clip_limit):
    return vesselness_filters.vessel_maps([name], image, fov, fov_diameter, clahe_clip_limit)[name]


def write_subset(root, numbers):
    """Synthetic images of 210 pixels a side."""
    for number in numbers:
        generated, id_ = generator.generate(1, number, 210, 210), f"{number:02d}"
        samples.write_labelled_image(root, "phantom", samples.LabelledImage(id_, id_, *generated, None))
    samples.write_table(root, [("phantom", f"{number:02d}", f"{number:02d}") for number in numbers])


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    root = tmp_path_factory.mktemp("raw")
    write_subset(root / "train", range(3))
    write_subset(root / "test", range(3, 5))
    return root


def run_stage(raw, out, names=NAMES):
    stage.main(raw / "train", raw / "test", out, Baselines(filters=names), PREPROCESS)
    return contents(out)


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def out(raw, tmp_path_factory):
    """What the stage writes, with all filters."""
    folder = tmp_path_factory.mktemp("filters") / "out"
    run_stage(raw, folder)
    return folder


def test_stage_writes_every_map_and_the_thresholds(raw, out):
    written = contents(out)
    maps = {f"{name}/phantom/{number:02d}.png" for name in NAMES for number in (3, 4)}
    assert set(written) == maps | {"thresholds.json"}
    assert sorted(path.name for path in out.parent.iterdir()) == ["out"]
    for sample in samples.find(raw / "test"):
        fov = samples.fov(sample)
        expected = vessel_map("sato", samples.image(sample), fov, 200, 0.0)
        levels = samples.read_levels(out / "sato" / "phantom" / f"{sample.id}.png")
        assert np.array_equal(levels, probability_levels.to_levels(expected))


def test_thresholds_are_chosen_on_the_training_images(raw, out):
    thresholds = json.loads((out / "thresholds.json").read_text(encoding="utf-8"))
    for name in NAMES:
        total = probability_metrics.EMPTY
        for sample in samples.find(raw / "train"):
            fov = samples.fov(sample)
            response = vessel_map(name, samples.image(sample), fov, 200, 0.0)
            total += probability_metrics.histogram(probability_levels.to_levels(response), samples.truth(sample), fov)
        assert thresholds[name] == pytest.approx(probability_metrics.best_threshold(total), abs=1e-6)


def test_stage_again_writes_the_same_bytes_and_leaves_nothing_old(raw, out, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old.png").touch()
    assert run_stage(raw, tmp_path / "out") == contents(out)


def test_no_filter_gives_no_map(raw, tmp_path):
    assert run_stage(raw, tmp_path / "out", []) == {"thresholds.json": b"{}\n"}


def test_failure_leaves_what_was_there(raw, tmp_path):
    first = run_stage(raw, tmp_path / "out", ["sato"])
    with pytest.raises(FileNotFoundError, match=r"samples\.csv: missing"):
        stage.main(raw / "train", raw / "none", tmp_path / "out", Baselines(filters=["sato"]), PREPROCESS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert (tmp_path / "out" / "thresholds.json").read_bytes() == first["thresholds.json"]


def test_stage_does_not_import_tensorflow():
    code = "import sys, stages.baselines; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
