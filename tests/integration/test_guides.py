"""Every `bash` block of tutorials and how-tos that is not marked runs in a tiny project."""

import pytest

from tools import run_guides

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return run_guides.prepare(tmp_path_factory.mktemp("guides"))


@pytest.mark.parametrize("page", run_guides.guides(), ids=str)
def test_blocks_of_the_guide_run_and_write_what_it_shows(page, prepared, tmp_path):
    run_guides.run_page(page, prepared, tmp_path)
