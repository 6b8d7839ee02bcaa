"""DVC notices a changed file of a data set in data.custom, by the stage in dvc.yaml."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

DVC = [sys.executable, "-m", "dvc"]
READER = "import sys, os; open('read.txt', 'w').write(' '.join(sorted(os.listdir('data/fingerprints'))))"


@pytest.fixture
def project(tmp_path) -> Path:
    """A project with two data sets, one of them elsewhere, and a stage that reads their fingerprints."""
    stages = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    fingerprint = stages["fingerprint"]
    fingerprint["do"]["deps"] = [dep for dep in fingerprint["do"]["deps"] if not dep.startswith(("src/", "stages/"))]
    fingerprint["do"]["cmd"] = fingerprint["do"]["cmd"].replace("python", sys.executable, 1)
    assert "data/fingerprints" in stages["download"]["deps"]
    reader = {"cmd": f'{sys.executable} -c "{READER}"', "deps": ["data/fingerprints"], "outs": ["read.txt"]}
    root, elsewhere = tmp_path / "project", tmp_path / "else where"
    for folder in (root / "data" / "own" / "images", root / "data" / "fingerprints", elsewhere / "images"):
        folder.mkdir(parents=True)
    for folder in (root / "data" / "own", elsewhere):
        (folder / "images" / "1.png").write_text("before")
    pipeline = {"stages": {"fingerprint": fingerprint, "download": reader}}
    (root / "dvc.yaml").write_text(yaml.safe_dump(pipeline, sort_keys=False), encoding="utf-8")
    (root / ".gitignore").write_text("/data/*\n")
    for command in (["git", "init", "--quiet"], [*DVC, "init", "--quiet"]):
        subprocess.run(command, cwd=root, check=True, capture_output=True)
    define(root, {"clinic_a": "data/own", "clinic_b": str(elsewhere)})
    return root


def define(root: Path, custom: dict[str, str]) -> None:
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    values["data"]["custom"] = custom
    (root / "params.yaml").write_text(yaml.safe_dump(values), encoding="utf-8")


def repro(root: Path) -> str:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = [*DVC, "repro"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True).stdout


def ran(output: str) -> list[str]:
    return [line.split("'")[1] for line in output.splitlines() if line.startswith("Running stage")]


@pytest.mark.slow
def test_stage_runs_again_where_a_file_of_a_data_set_changed(project):
    assert ran(repro(project)) == ["fingerprint@clinic_a", "fingerprint@clinic_b", "download"]
    assert ran(repro(project)) == []
    (project / "data" / "own" / "images" / "1.png").write_text("after")
    assert ran(repro(project)) == ["fingerprint@clinic_a", "download"]
    (project.parent / "else where" / "images" / "2.png").write_text("new")
    assert ran(repro(project)) == ["fingerprint@clinic_b", "download"]


def test_pipeline_needs_no_data_set_of_the_user(project):
    define(project, {})
    assert ran(repro(project)) == ["download"]
