import json

import pytest
from conftest import darkness

from src import pack
from src.exported import Exported, Settings


@pytest.fixture
def run(tmp_path):
    """The network and the table of validation of a finished run."""
    network, validation = tmp_path / "model.onnx", tmp_path / "validation.json"
    network.write_bytes(darkness())
    validation.write_text(json.dumps({"validation": {"threshold": 0.375, "f1": 0.8}}))
    return network, validation


def test_packed_network_has_the_settings_of_its_run(run, params, tmp_path):
    evaluate = params.evaluate.model_copy(update={"scales": (1.0, 1.5)})
    pack.pack(*run, params.model_copy(update={"evaluate": evaluate}), tmp_path / "models" / "packed.onnx")
    expected = Settings(540, 0.0, evaluate.tile, evaluate.overlap, 0.375, ("phantom",), (1.0, 1.5))
    assert Exported(tmp_path / "models" / "packed.onnx").settings == expected


def test_packing_twice_writes_the_same_bytes(run, params, tmp_path):
    for name in ("one", "two"):
        pack.pack(*run, params, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(("missing", "stage"), [(0, "export"), (1, "evaluate")])
def test_missing_file_of_the_run_is_named_with_its_stage(run, params, tmp_path, missing, stage):
    run[missing].unlink()
    with pytest.raises(FileNotFoundError, match=rf"{run[missing].name}: missing; run `dvc repro {stage}`"):
        pack.pack(*run, params, tmp_path / "packed.onnx")
