"""README against the project: short, complete, and its two commands set everything up."""

import re
from pathlib import Path

import pytest

from tools import docs, markdown_pages

README = Path("README.md").read_text(encoding="utf-8")
SET_UP = "python3.11 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt && "


def test_readme_is_read_in_minutes():
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("command", ["dvc repro", "python -m pytest"])
def test_one_command_does_all_set_up(command):
    assert f"{SET_UP}{command}\n" in README


def lines(page: Path) -> set[str]:
    """The commands of a page that are not marked, without comments."""
    return {
        line.partition("  #")[0].rstrip() for block in markdown_pages.blocks(page) for line in block.text.splitlines()
    }


def test_commands_are_those_of_the_tutorials():
    shown = lines(Path("README.md"))
    assert shown
    assert shown <= {line for page in Path("docs/tutorials").glob("*.md") for line in lines(page)}


@pytest.mark.parametrize("path", sorted(set(re.findall(r"(?:docs|models|examples)/[\w/.-]+\.\w+", README))))
def test_file_that_is_named_exists(path):
    assert Path(path).is_file()


@pytest.mark.parametrize("page", docs.PAGES, ids=str)
def test_generated_page_is_fresh(page):
    assert page.read_text(encoding="utf-8") == docs.PAGES[page](), "run python -m tools.docs"
