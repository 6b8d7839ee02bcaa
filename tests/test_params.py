import copy
from pathlib import Path

import pytest
import yaml

from src.params import Params, load_params

COMMITTED = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))


def written(tmp_path: Path, key: str, value: object) -> Path:
    values = copy.deepcopy(COMMITTED)
    section, name = key.split(".")
    values[section][name] = value
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_committed_file_is_valid():
    assert isinstance(load_params(), Params)


def test_number_written_as_yaml_1_1_string_is_a_number(tmp_path):
    path = tmp_path / "params.yaml"
    text = Path("params.yaml").read_text(encoding="utf-8")
    assert "learning_rate: 1.0e-3" in text
    path.write_text(text.replace("learning_rate: 1.0e-3", "learning_rate: 1e-05"), encoding="utf-8")
    assert load_params(path).train.learning_rate == 1e-5


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("loss.alpha", 2, "loss.alpha: .*less than or equal to 1, got 2"),
        ("loss.delta", 1, "loss.delta: unknown key"),
        ("loss.name", "hinge", "loss.name: .*'focal_dice'.*got 'hinge'"),
        ("train.learning_rate", "fast", "train.learning_rate: .*number.*got 'fast'"),
        ("train.learning_rate", float("nan"), "train.learning_rate: .*finite number, got nan"),
        ("train.epochs", True, "train.epochs: .*not a truth value, got True"),
        ("train.epochs", 0, "train.epochs: .*got 0"),
        ("patch.size", 100, "patch.size: .*multiple of 32, got 100"),
        ("data.train", ["drive", "drvie"], "data.train.1: .*'chase_db1'.*got 'drvie'"),
        ("data.test", [], "data.test: .*at least 1"),
        ("data.test", ["drive", "drive"], r"data\.test: expected each data set once, got \[.drive., .drive.\]$"),
        ("baselines.filters", ["gabor"], "baselines.filters.0: .*'frangi'.*got 'gabor'"),
        ("baselines.filters", ["sato", "sato"], r"baselines\.filters: expected each filter once, got \[.*\]$"),
        ("evaluate.overlap", 5000, r"evaluate\.overlap: expected less than tile \(1024\), got 5000$"),
    ],
)
def test_bad_value_is_named(tmp_path, key, value, said):
    with pytest.raises(ValueError, match=said):
        load_params(written(tmp_path, key, value))


@pytest.mark.parametrize("section", sorted(COMMITTED))
def test_missing_section_is_named(tmp_path, section):
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in COMMITTED.items() if k != section}), encoding="utf-8")
    with pytest.raises(ValueError, match=f"{section}: missing"):
        load_params(path)


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n", "3", "data: null\n"])
def test_file_that_is_no_mapping_is_one_sentence(tmp_path, text):
    path = tmp_path / "params.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"params\.yaml"):
        load_params(path)
