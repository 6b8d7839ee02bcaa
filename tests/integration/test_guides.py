"""Every `bash` block of tutorials and how-tos that is not marked runs in a tiny project, which DVC has run."""

import subprocess
import sys

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
        if not (folder / "done").exists():
            run_guides.prepare(folder)
            (folder / "done").touch()
    return folder / "project"


def test_dvc_has_nothing_left_to_do(prepared):
    status = subprocess.run(
        [sys.executable, "-m", "dvc", "status"], cwd=prepared, capture_output=True, text=True, check=True
    )
    assert status.stdout == "Data and pipelines are up to date.\n"


@pytest.mark.parametrize("page", run_guides.guides(), ids=str)
def test_blocks_of_the_guide_run_and_write_what_it_shows(page, prepared, tmp_path):
    run_guides.run_page(page, prepared, tmp_path)
