"""README against the files: its scores are those of metrics/, its sections those of params.yaml."""

import json
from pathlib import Path

import pytest

from src.params import Params

README = Path("README.md").read_text(encoding="utf-8")
SHOWN = ("f1", "auc_roc", "auc_pr", "mcc", "accuracy", "precision", "recall", "specificity")
FILES = {"repro": Path("metrics/scores.json")} | {
    path.parent.name: path for path in sorted(Path("metrics/experiments").glob("*/scores.json"))
}


def row(name: str, dataset: str, who: str, images: int, scores: dict) -> str:
    """A row of README's table of scores."""
    cells = (f"{scores[key]:.4f}".lstrip("0") if key in scores else "-" for key in SHOWN)
    return f"| {name} | `{dataset}`, {images} | {who} | {' | '.join(cells)} |"


def rows(name: str, path: Path) -> list[str]:
    """The rows of a scores.json: model and second observer on each data set."""
    found = []
    for dataset, scores in json.loads(path.read_text(encoding="utf-8")).items():
        if isinstance(scores, dict):
            found.append(row(name, dataset, "model", scores["images"], scores["fov"]))
            if "second_observer" in scores:
                human = scores["second_observer"]
                found.append(row(name, dataset, "second observer", human["images"], human["fov"]))
    return found


@pytest.mark.parametrize("name", FILES)
def test_scores_are_those_of_the_committed_files(name):
    missing = [text for text in rows(name, FILES[name]) if text not in README]
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("section", Params.model_fields)
def test_every_section_of_params_is_named(section):
    assert f"`{section}`" in README


def test_nothing_is_left_to_fill_in():
    assert "@" not in README


def test_picture_exists():
    assert "(docs/example.png)" in README
    assert Path("docs/example.png").is_file()
