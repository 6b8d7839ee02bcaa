"""Every `bash` block of tutorials and how-tos that is not marked runs in a tiny project, whose pipeline has run."""

from pathlib import Path

import pytest
from filelock import FileLock

from tools import run_guides

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, worker_id):
    """The tiny project; the first of pytest's workers prepares it for all."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "guides"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            run_guides.prepare(folder)
            (folder / "done").touch()
    assert (folder / "done").exists(), "another worker could not prepare the project"
    return folder / "project"


def number_of_runs(page: Path) -> int:
    """How often a guide runs the pipeline: the longest go first."""
    return sum(
        block.text.count("dvc exp run") + block.text.count("dvc repro") for block, _ in run_guides.runnable_blocks(page)
    )


def test_dvc_has_nothing_left_to_do(prepared, tmp_path):
    project, log = tmp_path / "project", tmp_path / "status.log"
    run_guides.copy_project(prepared, project)
    run_guides.run_script("dvc status", project, log)
    assert log.read_text(encoding="utf-8") == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("page", sorted(run_guides.guides(), key=number_of_runs, reverse=True), ids=str)
def test_blocks_of_the_guide_run_and_write_what_it_shows(page, prepared, tmp_path):
    run_guides.run_page(page, prepared, tmp_path)
