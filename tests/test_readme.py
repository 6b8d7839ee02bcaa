"""README against the files: its scores are those of metrics/, its sections those of params.yaml."""

import functools
import re
from pathlib import Path

import pytest
import yaml

from benchmarks import experiments
from src.params import UNTRACKED, Params

README = Path("README.md").read_text(encoding="utf-8")


def test_scores_are_those_of_the_committed_files():
    missing = [row for row in experiments.table() if row not in README.splitlines()]
    assert not missing, "\n".join(missing)


def test_every_kept_experiment_is_listed():
    listed = yaml.safe_load(experiments.LIST.read_text(encoding="utf-8"))
    assert {path.name for path in experiments.KEPT.iterdir()} <= set(listed)


@pytest.mark.parametrize("name", [path.name for path in experiments.KEPT.iterdir()])
def test_kept_experiment_has_the_listed_parameters(name):
    listed = yaml.safe_load(experiments.LIST.read_text(encoding="utf-8"))[name]
    kept = yaml.safe_load((experiments.KEPT / name / "params.yaml").read_text(encoding="utf-8"))  # may lack later keys
    for key, value in listed.items():
        assert functools.reduce(dict.__getitem__, key.split("."), kept) == value


@pytest.mark.parametrize("section", [*Params.model_fields, *sorted(UNTRACKED)])
def test_every_section_of_params_is_named(section):
    assert f"`{section}`" in README


def test_nothing_is_left_to_fill_in():
    assert not re.findall(r"@[\w.]*@", README)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:docs|models)/[\w/]+\.\w+", README))))
def test_file_that_is_named_exists(path):
    assert Path(path).is_file()
