import json
import shutil
from pathlib import Path

import pytest
from darkness_network import darkness

from src.inference import package_model
from src.inference.onnx_model import ModelSettings, OnnxModel

ROOT = Path(__file__).parents[2]


@pytest.fixture
def run(tmp_path):
    """The network and validation.json of a finished run."""
    network, validation = tmp_path / "model.onnx", tmp_path / "validation.json"
    network.write_bytes(darkness())
    validation.write_text(json.dumps({"validation": {"threshold": 0.375, "f1": 0.8}}))
    return network, validation


def test_packed_network_has_the_settings_of_its_run(run, params, tmp_path):
    others = {"tta_scales": (1.0, 1.5), "tta_flips": False, "logit_adjustment": True, "scale_weighting": True}
    evaluate = params.evaluate.model_copy(update=others)
    package_model.package(*run, params.model_copy(update={"evaluate": evaluate}), tmp_path / "models" / "packed.onnx")
    expected = ModelSettings(540, 0.0, evaluate.tile, evaluate.overlap, 0.375, ("phantom",), **others)
    assert OnnxModel(tmp_path / "models" / "packed.onnx").settings == expected


def test_packing_twice_writes_the_same_bytes(run, params, tmp_path):
    for name in ("one", "two"):
        package_model.package(*run, params, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(("missing", "stage"), [(0, "export"), (1, "evaluate")])
def test_missing_file_of_the_run_is_named_with_its_stage(run, params, tmp_path, missing, stage):
    run[missing].unlink()
    with pytest.raises(FileNotFoundError, match=rf"{run[missing].name}: missing; run `dvc repro {stage}`"):
        package_model.package(*run, params, tmp_path / "packed.onnx")


def test_command_packs_the_run_of_the_project_folder(run, tmp_path, monkeypatch, capsys):
    network, validation = run
    shutil.copy(ROOT / "params.yaml", tmp_path)
    for path, place in ((network, package_model.NETWORK), (validation, package_model.VALIDATION)):
        (tmp_path / place).parent.mkdir(parents=True)
        shutil.copy(path, tmp_path / place)
    monkeypatch.chdir(tmp_path)
    assert package_model.main(["models/mine.onnx"]) == 0
    assert capsys.readouterr().out == "models/mine.onnx\n"
    assert OnnxModel(Path("models/mine.onnx")).settings.threshold == 0.375


def test_command_names_the_missing_file(tmp_path, monkeypatch, capsys):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        package_model.main(["mine.onnx"])
    assert f"{package_model.NETWORK}: missing; run `dvc repro export`" in capsys.readouterr().err
