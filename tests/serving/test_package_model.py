import hashlib
import json
import shutil
from pathlib import Path

import pytest
import yaml
from darkness_network import darkness

from src.inference.onnx_model import ModelSettings, OnnxModel
from src.serving import package_model

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """The network and validation.json of a finished run."""
    network, validation = tmp_path / "model.onnx", tmp_path / "validation.json"
    network.write_bytes(darkness())
    validation.write_text(json.dumps({"validation": {"threshold": 0.375, "f1": 0.8}}))
    return network, validation


def test_packed_network_has_the_settings_of_its_run(run, params, tmp_path):
    adjusted = {
        "logit_adjustment": True,
        "scale_weighting": True,
        "hysteresis_threshold": 0.75,
        "min_scale_factor": 0.67,
        "thin_vessel_extension": 0.7,
    }
    others = {"tta_scales": (1.0, 1.5), "tta_flips": False} | adjusted
    evaluate = params.evaluate.model_copy(update=others)
    package_model.package(*run, params.model_copy(update={"evaluate": evaluate}), tmp_path / "models" / "packed.onnx")
    expected = ModelSettings(540, 0.0, evaluate.tile, evaluate.overlap, 0.375, ("phantom",), **others)
    assert OnnxModel(tmp_path / "models" / "packed.onnx").settings == expected


def test_packing_twice_writes_the_same_bytes(run, params, tmp_path):
    for name in ("one", "two"):
        package_model.package(*run, params, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.fixture
def project(run, params, tmp_path, monkeypatch):
    """A project folder after a run; returns the content of its dvc.lock."""
    network, validation = run
    shutil.copy(ROOT / "params.yaml", tmp_path)
    outs = []
    for path, place in ((network, package_model.NETWORK), (validation, package_model.VALIDATION)):
        (tmp_path / place).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / place)
        outs.append([{"path": place.as_posix(), "md5": hashlib.md5(path.read_bytes()).hexdigest()}])
    deps = [{"path": "data/model/model.h5", "md5": "0"}]
    sections = {name: getattr(params, name).model_dump(mode="json") for name in ("preprocess", "evaluate")}
    evaluate = {"deps": deps, "outs": outs[1], "params": {"params.yaml": sections}}
    download = {"deps": [], "outs": [], "params": {"params.yaml": {"data": {"train": params.data.train}}}}
    download["outs"] = [{"path": "data/raw/train", "md5": "0.dir"}]
    monkeypatch.chdir(tmp_path)
    lock = {"stages": {"download": download, "export": {"deps": deps, "outs": outs[0]}, "evaluate": evaluate}}
    package_model.LOCK.write_text(yaml.safe_dump(lock))
    return lock


def test_command_packs_the_run_of_the_project_folder(project, capsys):
    assert package_model.main(["models/mine.onnx"]) == 0
    assert capsys.readouterr().out == "models/mine.onnx\n"
    assert OnnxModel(Path("models/mine.onnx")).settings.threshold == 0.375


def test_command_quantizes_with_the_training_images(project, monkeypatch):
    seen = []
    monkeypatch.setattr(package_model.quantization, "quantize", lambda *given: seen.append(given) or given[0])
    assert package_model.main(["models/mine.onnx", "--int8"]) == 0
    [(network, folder, settings)] = seen
    assert network == package_model.NETWORK.read_bytes()
    assert folder == Path("data/raw/train")
    assert settings == OnnxModel(Path("models/mine.onnx")).settings


def test_quantization_without_training_images_names_the_stage(project, capsys):
    with pytest.raises(SystemExit, match="2"):
        package_model.main(["mine.onnx", "--int8"])
    assert "data/raw/train/samples.csv: missing; run `dvc repro download`" in capsys.readouterr().err
    assert not Path("mine.onnx").exists()


def change_parameter(project):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("fov_diameter: 540", "fov_diameter: 720"))


def change_training_sets(project):
    text = Path("params.yaml").read_text()
    Path("params.yaml").write_text(text.replace("train: [phantom]", "train: [phantom, drive]"))


def change_threshold(project):
    package_model.VALIDATION.write_text(json.dumps({"validation": {"threshold": 0.5, "f1": 0.8}}))


def evaluate_another_network(project):
    project["stages"]["evaluate"]["deps"] = [{"path": "data/model/model.h5", "md5": "1"}]
    package_model.LOCK.write_text(yaml.safe_dump(project))


def remove_lock(project):
    package_model.LOCK.unlink()


def break_lock(project):
    package_model.LOCK.write_text("stages: [")


def remove_network(project):
    package_model.NETWORK.unlink()


def remove_threshold(project):
    package_model.VALIDATION.unlink()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (change_parameter, "params.yaml: preprocess.fov_diameter: expected 540 as in the last run, got 720"),
        (
            change_training_sets,
            "params.yaml: data.train: expected ['phantom'] as in the last run, got ['phantom', 'drive']",
        ),
        (change_threshold, "metrics/validation.json: expected md5 "),
        (evaluate_another_network, "data/model/model.onnx: expected the network that was evaluated, got another one"),
        (remove_lock, "dvc.lock: expected a file, found none"),
        (break_lock, "dvc.lock: expected YAML, got "),
        (remove_network, "data/model/model.onnx: missing; run `dvc repro export`"),
        (remove_threshold, "metrics/validation.json: missing; run `dvc repro evaluate`"),
    ],
)
def test_what_changed_since_the_run_is_named(project, capsys, change, message):
    change(project)
    with pytest.raises(SystemExit, match="2"):
        package_model.main(["mine.onnx"])
    error = capsys.readouterr().err
    assert message in error
    assert not Path("mine.onnx").exists()


def test_command_names_the_missing_file(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        package_model.main(["mine.onnx"])
    assert f"{package_model.NETWORK}: missing; run `dvc repro export`" in capsys.readouterr().err
