import os
import platform
import shutil
import subprocess
import sys

import pytest

from src.common.project_root import real_root
from src.tracking import local_store, mlflow_logger
from src.tracking.local_store import PROCESS_ID, PROCESS_START, open_local_store
from src.tracking.mlflow_setup import MlflowClient
from src.tracking.tracking_store import TrackingError, find_experiment, local_uri

NAME = "retinal-vessels"


def client_of(project):
    return MlflowClient(local_uri(project))


def files(project, run_id):
    return {file.path for file in client_of(project).list_artifacts(run_id, "metrics")}


@pytest.mark.parametrize("original", ["moved", "copied"])
def test_project_that_was_moved_or_copied_keeps_its_runs_and_leaves_the_old_place_alone(
    project, gather, tmp_path, capsys, original
):
    first = mlflow_logger.record(gather(project, note="first"), NAME, project)
    expected = files(project, first)
    there = tmp_path / "else%where_" / "a project"
    (shutil.copytree if original == "copied" else shutil.move)(project, there)
    before = sorted(project.rglob("*"))
    second = mlflow_logger.record(gather(there, note="second"), NAME, there)
    assert [files(there, run_id) for run_id in (first, second)] == [expected, expected]
    assert all(str(there.as_uri()) in client_of(there).get_run(run_id).info.artifact_uri for run_id in (first, second))
    assert sorted(project.rglob("*")) == before
    assert "was moved" in capsys.readouterr().err
    mlflow_logger.record(gather(there, note="third"), NAME, there)
    assert "was moved" not in capsys.readouterr().err


def test_run_whose_files_are_only_at_the_old_place_keeps_it(project, gather, tmp_path):
    first = mlflow_logger.record(gather(project, note="first"), NAME, project)
    expected = files(project, first)
    there = shutil.copytree(project, tmp_path / "elsewhere", ignore=shutil.ignore_patterns("mlruns"))
    second = mlflow_logger.record(gather(there, note="second"), NAME, there)
    assert files(there, first) == expected
    assert (there / "mlruns" / second).is_dir()


def test_temporary_checkout_of_an_experiment_uses_the_store_of_the_project(project):
    (project / ".dvc").mkdir()
    checkout = project / ".dvc" / "tmp" / "exps" / "tmp1"
    checkout.mkdir(parents=True)
    assert local_uri(real_root(checkout)) == f"sqlite:///{project / 'mlflow.db'}"


@pytest.fixture
def opened(project):
    """A function that opens a run with tags."""

    def open_run(**tags):
        with open_local_store(project) as client:
            run_id = mlflow_logger.create_run(client, find_experiment(client, NAME, project), {})
            for key, value in tags.items():
                client.set_tag(run_id, key, value)
        return run_id

    return open_run


def status(project, run_id):
    with open_local_store(project) as client:
        return client.get_run(run_id).info.status


def test_run_of_a_process_that_lives_is_left_alone(project, opened):
    assert status(project, opened()) == "RUNNING"


def test_run_of_a_process_that_is_gone_is_closed_by_the_next(project, opened):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert status(project, opened(**{PROCESS_ID: str(gone.pid)})) == "KILLED"


def test_run_whose_process_id_is_another_process_now_is_closed(project, opened):
    assert status(project, opened(**{PROCESS_ID: str(os.getpid()), PROCESS_START: "12.5"})) == "KILLED"


def test_run_of_another_machine_is_left_alone(project, opened):
    assert status(project, opened(machine=f"not-{platform.node()}", **{PROCESS_START: "12.5"})) == "RUNNING"


def test_broken_database_is_an_error_with_the_cause(project):
    (project / "mlflow.db").write_text("this is no database, whatever its name says")
    with pytest.raises(TrackingError, match=r"mlflow\.db: file is not a database"):
        local_store.open_local_store(project).__enter__()
