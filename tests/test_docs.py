"""The documentation: links, blocks, parameters, commands, messages, words and sentences."""

import ast
import functools
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from src.__main__ import COMMANDS
from tools import check_docs, markdown_pages

PAGES = check_docs.pages()
PARAMS = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
TROUBLESHOOT = Path("docs/how-to/troubleshoot.md")
VALUE = "\0"  # in place of a value in a message

every_page = pytest.mark.parametrize("page", PAGES, ids=str)


def write(folder: Path, text: str, name: str = "page.md") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@every_page
def test_no_link_is_broken(page):
    assert not list(check_docs.broken_links(page))


@every_page
def test_every_parameter_that_is_named_exists(page):
    assert not list(check_docs.unknown_parameters(page, PARAMS))


@every_page
def test_every_bash_block_is_runnable_or_marked(page):
    assert not list(check_docs.unmarked_blocks(page))


@every_page
def test_rows_of_tables_fit_their_header(page):
    assert not list(check_docs.broken_tables(page))


@every_page
def test_sentences_are_short_and_in_the_words_of_the_field(page):
    assert not list(markdown_pages.hard_sentences(page))


@every_page
def test_bash_blocks_are_valid(page):
    for block in markdown_pages.fenced_blocks(page):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)
            assert not done.returncode, f"{page}:{block.line}: {done.stderr}"


@every_page
def test_yaml_blocks_are_valid(page):
    for block in markdown_pages.fenced_blocks(page):
        if block.language == "yaml":
            yaml.safe_load(block.text)


@every_page
def test_commands_and_programs_that_are_named_exist(page):
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"python -m src ([a-z][a-z-]*)", text):
        assert name in COMMANDS
    for module in re.findall(r"python -m ((?:benchmarks|experiments|robustness|stages|tools)\.\w+)", text):
        assert Path(*module.split(".")).with_suffix(".py").is_file(), module


def test_every_page_is_on_the_map():
    map_ = Path("docs/README.md")
    linked = {(map_.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+)", map_.read_text("utf-8"))}
    assert {page.resolve() for page in PAGES if page.parts[0] == "docs" and page != map_} <= linked


@functools.cache
def texts_of_the_code() -> str:
    """All strings of the code, line by line; a value in a string is VALUE."""
    found = []
    for path in [*Path("src").rglob("*.py"), *Path("stages").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(
                        str(getattr(part, "value", VALUE)) if isinstance(part, ast.Constant) else VALUE
                        for part in node.values
                    )
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join(found)


@pytest.mark.parametrize("block", markdown_pages.fenced_blocks(TROUBLESHOOT), ids=lambda block: block.text.strip()[:40])
def test_message_in_troubleshooting_is_one_of_the_code(block):
    if block.language == "text":
        for part in filter(None, map(str.strip, block.text.split("..."))):
            assert part in texts_of_the_code(), part


def test_broken_links_and_anchors_are_found(tmp_path):
    write(tmp_path, "# A heading: `code`, and more\n\n## Twice\n\n## Twice\n", "other.md")
    page = write(
        tmp_path,
        "# Here\n[a](other.md) [b](other.md#a-heading-code-and-more) [c](other.md#twice-1) [d](#here) [e](https://x.org)\n"
        "[f](gone.md) ![g](gone.png) [h](other.md#gone) `[i](gone)`\n```text\n[j](gone)\n```\n<img src=\"gone.jpg\">\n",
    )  # fmt: skip
    found = [line.removeprefix(f"{page}:").split(": ")[:2] for line in check_docs.broken_links(page)]
    assert found == [["3", "gone.md"], ["3", "gone.png"], ["3", "other.md#gone"], ["7", "gone.jpg"]]


def test_rows_that_do_not_fit_their_table_are_found(tmp_path):
    page = write(tmp_path, "| a | b |\n| --- | --- |\n| `x \\| y` | 1 |\n| 1 |\n\n| a |\n| --- |\n| 1 | 2 |\n")
    found = [line.removeprefix(f"{page}:").split(": ")[0] for line in check_docs.broken_tables(page)]
    assert found == ["4", "8"]


def test_tables_without_a_header_are_found(tmp_path):
    page = write(tmp_path, "| a | b |\n| --- | :-: |\n| 1 | 2 |\n\n| 3 | 4 |\n\n| 5 | 6 |\n| 7 | 8 |\n")
    found = [line.removeprefix(f"{page}:").split(": ")[0] for line in check_docs.broken_tables(page)]
    assert found == ["5", "7"]


def test_blocks_are_those_that_are_not_marked(tmp_path):
    page = write(
        tmp_path,
        "```bash\nfirst\n```\n\n<!-- not run: needs a server -->\n```bash\nsecond\n```\n"
        "```text\nthird\n```\n```bash\n4\n5\n```\n",
    )
    assert [(block.line, block.text) for block in markdown_pages.blocks(page)] == [(2, "first\n"), (13, "4\n5\n")]


def test_a_mark_needs_a_reason(tmp_path):
    page = write(tmp_path, "<!-- not run: -->\n```bash\ncd ADDRESS\n```\n")
    assert len(list(markdown_pages.blocks(page))) == 1
    assert list(check_docs.unmarked_blocks(page)) == [
        f"{page}:3: 'ADDRESS' cannot be run: mark the block <!-- not run: reason -->"
    ]


def test_unknown_parameters_are_found(tmp_path):
    page = write(
        tmp_path,
        "`loss.gamma` `loss.gama` `phantom.f1` `train.py`\n```bash\ndvc exp run -S 'data.trian=[drive]'\n```\n",
    )
    assert [line.split(": ")[1] for line in check_docs.unknown_parameters(page, PARAMS)] == ["data.trian", "loss.gama"]


def test_long_sentences_and_old_words_are_found(tmp_path):
    long = " ".join(["word"] * (markdown_pages.MAX_WORDS + 1))
    page = write(
        tmp_path,
        f"# Head\n\nA photograph. The field of view of `photographs`.\n\n* {long}.\n\n| {long} | share a cell |\n",
    )
    found = list(markdown_pages.hard_sentences(page))
    assert [line.split(": ")[1] for line in found] == ["'photograph'", "30 words", "30 words"]


def test_generated_pages_keep_the_words_of_the_code(tmp_path):
    assert not list(
        markdown_pages.sentences(write(tmp_path, f"{markdown_pages.GENERATED} by a program -->\n\nA photograph.\n"))
    )


def test_main_says_what_is_wrong(tmp_path, capsys):
    assert check_docs.main([str(write(tmp_path, "# Fine\n", "fine.md"))]) == 0
    assert check_docs.main([str(write(tmp_path, "[a](gone.md)\n"))]) == 1
    assert capsys.readouterr().out.endswith("gone.md: no such file\n")
