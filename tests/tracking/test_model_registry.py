"""Versions of the registered model: `src/tracking/model_versions.py` and `src/tracking/model_registry.py` together."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from src.common import provenance
from src.common.operating_point import read_threshold
from src.evaluation import gate_inputs, paired_scores, pipeline_status
from src.evaluation.result_tables import FORMATS
from src.params import load_params, load_regression_gate
from src.tracking import (
    mlflow_logger,
    model_packaging,
    model_registry,
    model_versions,
    run_record,
    run_tags,
    tracking_store,
)
from src.tracking.mlflow_setup import MlflowClient, mlflow

KEPT = Path("metrics/experiments/drive_18_ensemble").resolve()  # real rows: 20 images of DRIVE, 28 of CHASE_DB1
PARAMS = Path("params.yaml").resolve()
NAME = load_params().record.registered_model_name
GATED = load_regression_gate().tolerances
PER_IMAGE = FORMATS["per_image.csv"]
TEXTS = dict.fromkeys((*PER_IMAGE.key, *PER_IMAGE.texts), str)
IMAGE = np.full((40, 40, 3), 90, np.uint8)


class Project:
    """A project folder with a finished run, whose scores can be changed and recorded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "metrics" / "figures").mkdir(parents=True)
        (folder / "examples").mkdir()
        shutil.copy(PARAMS, folder)
        (folder / "model.h5").write_bytes(b"a network: it is registered, not loaded")
        for name in (*provenance.RESULT_TABLES, run_record.REPORT):
            (folder / "metrics" / name).write_text("epoch,loss\n1,0.9\n", encoding="utf-8")
        self.write()

    def write(self, change: Callable[[pd.DataFrame], pd.DataFrame] = lambda table: table, **evaluate: object) -> None:
        """Write the real scores, changed where they are the model's in the field of view, and their dvc.lock."""
        for name in ("scores.json", "validation.json", *(path.name for path in gate_inputs.TABLES)):
            shutil.copy(KEPT / name, self.folder / "metrics")
        table = pd.read_csv(self.folder / gate_inputs.PER_IMAGE, dtype=TEXTS)
        mine = paired_scores.select(table, "fov", "model")
        table = pd.concat([change(mine.copy()), table.drop(index=mine.index)])
        table.to_csv(self.folder / gate_inputs.PER_IMAGE, index=False)
        outs = [{"path": str(p), "md5": hashlib.md5((self.folder / p).read_bytes()).hexdigest()}
                for p in gate_inputs.TABLES]  # fmt: skip
        self.evaluate = {"threshold": None, "width_limits": [2.5, 5.5]} | evaluate
        section = {"evaluate": self.evaluate}
        test = {"path": gate_inputs.TEST_DATA, "md5": "a.dir"}
        stages = {"evaluate": {"params": {"params.yaml": section}, "outs": [*outs, test]}}
        (self.folder / pipeline_status.LOCK).write_text(yaml.safe_dump({"stages": stages}), encoding="utf-8")

    def record(self, note: str = "", model: bool = True) -> str:
        """The id of the run; another `note` is another state."""
        params = load_params().model_dump() | {"evaluate": self.evaluate, "note": note}
        how = {"tile": 64}, NAME, model_packaging.served_code()
        logged = run_record.ModelRecord(self.folder / "model.h5", IMAGE, *how) if model else None
        names = ("", "metrics", "examples", "raw", "model.h5")
        places = run_record.RunPaths(*(self.folder / name for name in names))
        run = run_record.gather_run(places, params, logged)
        return mlflow_logger.record(run, "retinal-vessels", self.folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory, add_store) -> Iterator[Project]:
    """A project that has recorded version 1; the tests share its store, as to record takes seconds."""
    folder = tmp_path_factory.mktemp("a project")
    add_store(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        project = Project(folder)
        project.first_run = project.record()
        yield project


@pytest.fixture
def project(made, monkeypatch) -> Project:
    """The project as it was at first, in which the command runs."""
    monkeypatch.chdir(made.folder)
    shutil.copy(PARAMS, made.folder)
    made.write()
    return made


@pytest.fixture
def client(project) -> MlflowClient:
    return MlflowClient(tracking_store.tracking_uri(project.folder))


@pytest.fixture
def first(project, client) -> str:
    """The run of version 1, which is the champion."""
    client.set_registered_model_alias(NAME, model_versions.CHAMPION, "1")
    return project.first_run


@pytest.fixture
def command(capsys) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = model_registry.main([*arguments])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


def number(client: MlflowClient, run_id: str) -> str:
    """The version that a run has."""
    return str(model_versions.find_version(client, NAME, run_id).version)


def champion(client: MlflowClient) -> str:
    return str(client.get_model_version_by_alias(NAME, model_versions.CHAMPION).version)


def worse(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(f1=table["f1"] - 0.01)


def test_recording_registers_the_model_once_for_each_state(project, client, first):
    assert project.record() == first
    second = project.record("second")
    assert project.record("second") == second
    runs = [version.run_id for version in model_versions.all_versions(client, NAME)]
    assert [runs.count(run_id) for run_id in (first, second)] == [1, 1]
    assert runs[0] == first


def test_run_recorded_before_its_model_was_registered_is_registered_when_recorded_again(project, client, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(model_versions, "register_version", lambda client, run_id, name: None)
        run_id = project.record("late")
    assert run_id not in {version.run_id for version in model_versions.all_versions(client, NAME)}
    assert project.record("late") == run_id
    assert run_id in {version.run_id for version in model_versions.all_versions(client, NAME)}


def test_run_without_a_model_registers_none(project, client):
    run_id = project.record("without", model=False)
    assert run_id not in {version.run_id for version in model_versions.all_versions(client, NAME)}


def test_version_says_scores_data_and_state(client, first):
    tags = model_versions.find_version(client, NAME, first).tags
    scores = json.loads((KEPT / "scores.json").read_text(encoding="utf-8"))
    assert tags["drive.f1"] == f"{scores['drive']['f1']:.4f}"
    assert tags["chase_db1.mean_cldice"] == f"{scores['chase_db1']['mean_cldice']:.4f}"
    assert tags["validation.threshold"] == f"{read_threshold(KEPT / 'validation.json'):.4f}"
    assert tags["data.test"] == "phantom"
    run = client.get_run(first)
    assert tags[run_tags.FINGERPRINT] == run.data.tags[run_tags.FINGERPRINT]
    assert tags.get("git.commit") == run.data.tags.get("git.commit")


def test_model_of_a_version_is_found_by_name(project, first):
    uri = tracking_store.tracking_uri(project.folder)
    logged = mlflow.artifacts.download_artifacts(f"models:/{NAME}@{model_versions.CHAMPION}", tracking_uri=uri)
    assert (Path(logged) / "artifacts" / "model.h5").read_bytes() == (project.folder / "model.h5").read_bytes()


def test_first_version_becomes_champion_without_comparison(client, first, command):
    client.delete_registered_model_alias(NAME, model_versions.CHAMPION)
    code, out, err = command("promote", first)
    assert (code, err) == (0, "")
    assert out == f"Version 1 of `{NAME}` is the first champion: there was none to compare it with.\n"
    assert champion(client) == "1"


def test_version_that_is_no_worse_takes_the_place_of_the_champion(project, client, first, command):
    rng = np.random.default_rng(1)
    project.write(lambda table: table.assign(f1=table["f1"] + rng.normal(0, 0.005, len(table))))
    version = number(client, project.record())
    code, out, _ = command("promote", version)
    assert code == 0
    assert out.startswith(f"## Regression gate: version {version} against version 1, the champion\n")
    assert "| `drive` | F1 (Dice) |" in out
    assert out.endswith(f"**Pass**\n\nVersion {version} of `{NAME}` is the champion now, after version 1.\n")
    assert champion(client) == version
    assert command("promote", version)[:2] == (0, f"Version {version} of `{NAME}` is the champion already.\n")


def test_version_that_is_worse_is_not_promoted(project, client, first, command):
    project.write(worse)
    run_id = project.record()
    code, out, _ = command("promote", run_id)
    assert code == 1
    assert f"fail: worse by more than {GATED['f1']:g} |" in out
    rejected = f"Version {number(client, run_id)} of `{NAME}` is not promoted; version 1 stays the champion."
    assert out.endswith(f"**Fail**\n\n{rejected}\n")
    assert champion(client) == "1"


@pytest.mark.parametrize(
    ("change", "evaluate", "cause"),
    [
        (lambda table: table[table["dataset"] == "drive"], {}, "chase_db1: expected the test set on both sides"),
        (lambda table: table[table["id"] != table["id"].iloc[0]], {}, "expected the same images"),
        (lambda table: table.drop(columns="cldice"), {}, "fail: undefined for"),
        (lambda table: table, {"threshold": 0.5}, "evaluate.threshold: expected null as before, got 0.5"),
    ],
)
def test_version_that_does_not_compare_is_not_promoted_and_the_reason_printed(
    project, client, first, command, change, evaluate, cause
):
    project.write(change, **evaluate)
    code, out, _ = command("promote", project.record())
    assert code == 1
    assert cause in out
    assert champion(client) == "1"


@pytest.mark.parametrize("given", ["700", "0" * 32, "main"])
def test_unknown_version_is_an_error(first, command, given):
    code, out, err = command("promote", given)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {given}: expected a version of '{NAME}' (1")
    assert err.endswith(") or the id of its run, found none\n")


def test_registry_without_a_version_is_an_error_and_lists_none(project, command):
    text = PARAMS.read_text(encoding="utf-8").replace(f"registered_model_name: {NAME}", "registered_model_name: other")
    (project.folder / "params.yaml").write_text(text, encoding="utf-8")
    code, _, err = command("promote", "1")
    assert (code, err) == (2, "error: 1: expected a version of 'other' (none) or the id of its run, found none\n")
    assert command("list") == (0, model_registry.table(model_registry.HEAD, []) + "\n", "")


def test_version_whose_tables_are_not_those_of_its_lock_is_an_error(project, client, first, command):
    table = project.folder / gate_inputs.PER_IMAGE
    table.write_text(table.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    run_id = project.record()
    code, _, err = command("promote", run_id)
    assert code == 2
    assert err.startswith(f"error: version {number(client, run_id)}:metrics/per_image.csv: expected md5 ")


def test_version_of_a_run_without_a_lock_is_an_error(project, client, first, command):
    (project.folder / pipeline_status.LOCK).unlink()
    run_id = project.record()
    code, _, err = command("promote", run_id)
    assert (code, err) == (2, f"error: version {number(client, run_id)}:dvc.lock: expected a file, found none\n")


def test_version_whose_run_lost_its_files_is_an_error(project, client, first, command):
    run_id = project.record("worse")
    shutil.rmtree(project.folder / "mlruns" / run_id)
    code, _, err = command("promote", run_id)
    assert code == 2
    version = number(client, run_id)
    assert err.startswith(f"error: version {version}: expected metrics/ among the files of run {run_id}: ")


def test_list_shows_every_version_and_the_champion(project, client, first, command):
    second = project.record("second")
    code, out, _ = command("list")
    assert code == 0
    rows = {row[2]: row for row in ([c.strip() for c in line.split("|")[1:-1]] for line in out.splitlines()[2:])}
    assert rows[first][:2] == ["1", model_versions.CHAMPION]
    assert rows[second][:2] == [number(client, second), ""]
    assert "drive.f1 " in rows[first][-1]
