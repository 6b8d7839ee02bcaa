"""Command lines of `python -m src COMMAND`: help pages that read like a manual, and types of options."""

import argparse
import math
import shutil
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PROGRAM = "python -m src"
INTERRUPTED = 130  # exit code, as of a process that SIGINT ends
MAX_WIDTH = 100  # columns of a help page on a wide terminal
MAX_COUNT = 1024  # of threads and processes
FIELD_ANGLES = (20, 60)  # degrees: least and largest of --field-angle


class ManualFormatter(argparse.HelpFormatter):
    """Wrap each paragraph to the terminal, indent lists, keep examples as they are, and show choices and defaults.

    In a text, paragraphs are separated by an empty line. A line that begins with two spaces is an item of a list: a
    term, two spaces, an explanation. A line that begins with four spaces is not wrapped.
    """

    def __init__(self, prog: str) -> None:
        """Format for a program as wide as the terminal, at most MAX_WIDTH columns."""
        width = min(shutil.get_terminal_size().columns - 2, MAX_WIDTH)
        super().__init__(prog, max_help_position=26, width=width)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = textwrap.dedent(text).strip().split("\n\n")
        return "\n\n".join(textwrap.indent(_wrap(paragraph, width), indent) for paragraph in paragraphs)

    def _metavar_formatter(self, action: argparse.Action, default_metavar: str) -> Callable[[int], tuple[str, ...]]:
        """Name the value of an option in one word; its choices stand in the help."""
        if action.option_strings and action.choices and action.metavar is None:
            return lambda size: (default_metavar,) * size
        return super()._metavar_formatter(action, default_metavar)

    def _get_help_string(self, action: argparse.Action) -> str | None:
        """Add the choices and the default of an option, the latter unless its help names it."""
        text = action.help or ""
        if action.option_strings and action.choices:
            text += f": {', '.join(map(str, action.choices))}"
        if action.default in (None, False, argparse.SUPPRESS) or not action.option_strings or "default" in text:
            return text
        default = action.option_strings[0] if action.default is True else "%(default)s"
        return f"{text} (default: {default})"


def _wrap(paragraph: str, width: int) -> str:
    lines = paragraph.splitlines()
    if not any(line.startswith(" ") for line in lines):
        return textwrap.fill(" ".join(lines), width)
    return "\n".join(_wrap_item(line, width) for line in lines)


def _wrap_item(line: str, width: int) -> str:
    """Wrap an item of a list with its explanation in one column."""
    if line.startswith("    ") or not line.startswith("  "):
        return line
    term, gap, explanation = line.strip().partition("  ")
    head = f"  {term}{gap}{explanation[: len(explanation) - len(explanation.lstrip())]}"
    return textwrap.fill(explanation.strip(), width, initial_indent=head, subsequent_indent=" " * len(head))


def command_parser(
    name: str, description: str, exit_codes: Mapping[int, str], examples: Sequence[str]
) -> argparse.ArgumentParser:
    """Create the parser of `python -m src NAME`.

    Args:
        name: the command.
        description: what it does, in paragraphs; see `ManualFormatter`.
        exit_codes: what each exit code means.
        examples: arguments of the command that show its use.
    """
    codes = "\n".join(f"  {code:<3}  {meaning}" for code, meaning in exit_codes.items())
    commands = "\n".join(f"    {PROGRAM} {name} {example}".rstrip() for example in examples)
    return argparse.ArgumentParser(
        prog=f"{PROGRAM} {name}",
        description=description,
        epilog=f"exit codes:\n{codes}\n\nexamples:\n{commands}",
        formatter_class=ManualFormatter,
        allow_abbrev=False,
    )


def user_path(text: str) -> Path:
    """Convert an argument to a path; `~` is the home folder."""
    return Path(text).expanduser()


def whole_number(least: int, largest: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least`, 0 or more, to `largest`."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= largest:
            raise argparse.ArgumentTypeError(f"expected a number from {least} to {largest}, got {text}")
        return int(text)

    return parse


positive_integer = whole_number(1, MAX_COUNT)


def field_angle(text: str) -> float:
    """Parse the angle of a field of view in degrees."""
    least, largest = FIELD_ANGLES
    value = _number(text)
    if not least <= value <= largest:
        raise argparse.ArgumentTypeError(f"expected {least} to {largest} degrees, got {text}")
    return value


def open_fraction(text: str) -> float:
    """Parse a number between 0 and 1, both excluded."""
    value = _number(text)
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return value


def _number(text: str) -> float:
    """Parse a number; NaN, which is in no range, where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
