import csv
import io

from image_file_builders import custom_folder

from src.params import load_params
from stages import download as stage


def test_stage_writes_the_audit(tmp_path):
    params = load_params()
    phantom = params.phantom.model_copy(update={"n_train": 3, "n_test": 1, "height": 128, "width": 120})
    data = params.data.model_copy(update={"train": ["phantom"], "test": ["phantom"]})
    stage.main(tmp_path / "raw", tmp_path / "metrics" / "audit.csv", data, phantom)
    text = (tmp_path / "metrics" / "audit.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [(row["subset"], row["images"], row["largest"]) for row in rows] == [
        ("train", "2", "120x128"),
        ("validation", "1", "120x128"),
        ("test", "1", "120x128"),
    ]


def test_stage_warns_of_what_is_implausible(tmp_path, capsys):
    params = load_params()
    root = custom_folder(tmp_path / "own", 4)
    data = params.data.model_copy(
        update={
            "train": ["phantom"],
            "test": ["folder"],
            "folder": params.data.folder.model_copy(update={"path": str(root)}),
        }
    )
    phantom = params.phantom.model_copy(update={"n_train": 2, "height": 128, "width": 120})
    stage.main(tmp_path / "raw", tmp_path / "audit.csv", data, phantom)
    assert "warning: test/folder/truth/p0.png: expected vessels in 1% to 25%" in capsys.readouterr().err


def test_custom_folder_is_read_from_the_current_folder_also_in_an_experiment(tmp_path, monkeypatch):
    params = load_params()
    checkout = tmp_path / ".dvc" / "tmp" / "exps" / "temp" / "tmp1"
    custom_folder(tmp_path / "mine")
    custom_folder(checkout / "mine", 3)
    monkeypatch.chdir(checkout)
    for path, count in (("mine", 3), (str(tmp_path / "mine"), 4)):
        folder = params.data.folder.model_copy(update={"path": path})
        data = params.data.model_copy(update={"folder": folder, "test": ["folder"]})
        assert len(stage.find_entries("folder", data, params.phantom).test) == count
