import argparse
from pathlib import Path

import pytest

from src.common import command_line

DESCRIPTION = """
Segment images: this paragraph is longer than the terminal is wide
and is wrapped.

Files:
  a.png  an explanation that is longer than the terminal is wide, in a column
    an example that is longer than the terminal is wide and that is not wrapped
"""


@pytest.fixture
def page(monkeypatch) -> str:
    monkeypatch.setenv("COLUMNS", "50")
    parser = command_line.command_parser("predict", DESCRIPTION, {0: "done", 130: "stopped"}, ("a.png", ""))
    parser.add_argument("--number", type=int, default=3, help="of threads")
    parser.add_argument("--tta", action=argparse.BooleanOptionalAction, default=True, help="flips")
    parser.add_argument("--model", default="a/b.onnx", help="network (default: b.onnx)")
    parser.add_argument("--verbose", action="store_true", help="more messages")
    parser.add_argument("--out", help="folder")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the output")
    return parser.format_help()


def test_paragraphs_are_wrapped_lists_indented_and_examples_kept(page):
    expected = [
        "Segment images: this paragraph is longer than",
        "the terminal is wide and is wrapped.",
        "",
        "Files:",
        "  a.png  an explanation that is longer than the",
        "         terminal is wide, in a column",
        "    an example that is longer than the terminal is wide and that is not wrapped",
        "",
    ]
    assert "\n".join(expected) in page


def test_defaults_are_shown_once(page):
    assert "of threads (default: 3)" in page
    assert "flips (default: --tta)" in page
    assert page.count("b.onnx)") == 1
    assert "more messages\n" in page
    assert "folder\n" in page


def test_choices_are_listed_in_the_help(page):
    assert "--format FORMAT " in page
    assert "of the output: text, json (default: text)" in " ".join(page.split())


def test_exit_codes_and_examples_end_the_page(page):
    assert page.endswith(
        "exit codes:\n  0    done\n  130  stopped\n\nexamples:\n"
        "    python -m src predict a.png\n    python -m src predict\n"
    )


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "x", "", "1025", "99999999999"])
def test_positive_integer_rejects_other_texts(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number from 1 to 1024"):
        command_line.positive_integer(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "x"])
def test_open_fraction_rejects_other_texts(text):
    with pytest.raises(argparse.ArgumentTypeError, match="expected a number between 0 and 1"):
        command_line.open_fraction(text)


def test_tilde_is_the_home_folder():
    assert command_line.user_path("~/a.onnx") == Path.home() / "a.onnx"


def test_numbers_are_parsed():
    assert (command_line.positive_integer("12"), command_line.open_fraction("0.25")) == (12, 0.25)
