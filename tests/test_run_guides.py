"""Guides are run as a reader would, and a failing block or another output is found."""

import re

import pytest

from tools import check_docs, run_guides

FENCE = "```"


def page_of(folder, *blocks: str):
    """A page of blocks, each "LANGUAGE: TEXT", or a line of prose."""
    path = folder / "page.md"
    path.write_text(
        "\n".join(re.sub(r"^(bash|text): (.*)", rf"{FENCE}\1\n\2\n{FENCE}", block, flags=re.DOTALL) for block in blocks)
    )
    return path


def run(folder, *blocks: str, seconds: float = 60) -> str:
    """Run a page of blocks, and return the output."""
    run_guides.run_blocks(page_of(folder, *blocks), folder, folder / "log", seconds)
    return (folder / "log").read_text()


def test_blocks_of_a_page_run_in_order_in_one_shell(tmp_path):
    output = run(tmp_path, "bash: mkdir a && cd a && X=1", "text: unrelated ...", "bash: touch $X")
    assert (tmp_path / "a" / "1").is_file()
    assert output == f"== {tmp_path}/page.md:2\n== {tmp_path}/page.md:8\n"


@pytest.mark.parametrize("failing", ["false", "false | true", "echo $UNSET"])
def test_failing_block_is_named(tmp_path, failing):
    with pytest.raises(run_guides.GuideError, match=r"page\.md:5: exit code 1\n"):
        run(tmp_path, "bash: true", f"bash: {failing}", "bash: touch after")
    assert not (tmp_path / "after").exists()


def test_marked_block_is_not_run(tmp_path):
    run(tmp_path, "<!-- not run: it fails -->", "bash: false", "bash: true")


def test_endless_block_is_stopped(tmp_path):
    with pytest.raises(run_guides.GuideError, match=r"page\.md:2: no end after 0\.5 seconds"):
        run(tmp_path, "bash: sleep 60", seconds=0.5)


@pytest.mark.parametrize("shown", ["text: F1  0.8\n...\nend", "text: rest is ..."])
def test_shown_output_is_that_of_the_block_whatever_its_numbers(tmp_path, shown):
    run(tmp_path, "bash: printf 'F1 0.123\\nmore\\nend\\n'", "Prose.", shown)


def test_other_output_than_the_shown_one_is_found(tmp_path):
    with pytest.raises(run_guides.GuideError, match=r"page\.md:5: no line of the output is 'recall #'"):
        run(tmp_path, "bash: echo F1 0.123", "text: recall 0.8")


@pytest.mark.parametrize("between", ["## Another section", "<!-- not compared: it differs here -->"])
def test_output_of_another_section_or_a_marked_one_is_not_compared(tmp_path, between):
    run(tmp_path, "bash: echo a", between, "text: b")


def test_every_guide_with_blocks_is_run():
    pages = [page for page in check_docs.pages() if page.parts[:2] in (("docs", "tutorials"), ("docs", "how-to"))]
    assert {page for page in pages if run_guides.runnable_blocks(page)} <= set(run_guides.guides())
    assert len(run_guides.guides()) > 8
