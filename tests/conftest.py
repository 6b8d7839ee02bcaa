"""Fixtures that several test files share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def archives() -> Path:
    """The folder of real photographs; skips where the machine has none."""
    folder = os.environ.get("FUNDUS_ARCHIVES")
    if not folder or not Path(folder).is_dir():
        pytest.skip("no real photographs here: set FUNDUS_ARCHIVES to the folder that holds them")
    return Path(folder)
