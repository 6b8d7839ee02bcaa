"""Check the documentation: python -m tools.check_docs.

Printed is each relative link or anchor that leads nowhere, each parameter that params.yaml does not have, each `bash`
block that is neither runnable nor marked, each table without a header, each row of a table with more or fewer cells
than its header, and each sentence that is too long or uses a word that the glossary replaces. The exit code is 1 where
there is any.

A `bash` block of a tutorial or how-to is run by a test, in order, in a tiny project: see tools.run_guides. A block that
cannot be run there is marked by a comment in the line before it: `<!-- not run: needs a server -->`.
"""

import argparse
import functools
import itertools
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from tools.markdown_pages import CODE, blocks, hard_sentences, prose_lines

PATTERNS = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "*/README.md", "data/*/README.md")
LINK = re.compile(
    r"!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)|<(?:a|img)\s[^>]*(?:href|src)=\"([^\"]+)\""
)
HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")
RULE = re.compile(r"\|([ :]*-+[ :]*\|)+")  # below the header of a table
LINES_OF_CODE = re.compile(r"L\d+(-L\d+)?")  # an anchor of GitHub in a file that is no page
SETTING = re.compile(r"(?:-S|--set-param)[ =]'?([a-z_0-9]+(?:\.[a-z_0-9]+)+)=")
FILES = (".py", ".yaml", ".csv", ".json", ".md", ".onnx", ".h5", ".png", ".html")  # model.h5 is no parameter
PLACEHOLDERS = re.compile(r"<[A-Za-z]|\.\.\.(?!/)|…|\b(OWNER|NAME|ADDRESS|FILE)\b")


def pages(root: Path = Path()) -> list[Path]:
    """List all pages that are checked."""
    found = {path for pattern in PATTERNS for path in root.glob(pattern)}
    return sorted(path for path in found if not path.relative_to(root).parts[0].startswith("."))


@functools.cache
def anchors(path: Path) -> frozenset[str]:
    """Return the anchors that GitHub gives the headings of a page, and those that its HTML names."""
    found: list[str] = []
    for line in prose_lines(path):
        found += re.findall(r"<\w+ [^>]*(?:id|name)=\"([^\"]+)\"", line)
        if match := HEADING.match(line):
            shown = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", match[2])
            slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
            twice = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", known) is not None for known in found)
            found.append(f"{slug}-{twice}" if twice else slug)
    return frozenset(found)


def broken_links(path: Path) -> Iterator[str]:
    """Yield each relative link of a page that leads to no file or heading."""
    for number, line in enumerate(prose_lines(path), 1):
        for match in LINK.finditer(CODE.sub(lambda code: "x" * len(code[0]), line)):
            target = line[match.start(1) : match.end(1)] if match[1] else line[match.start(2) : match.end(2)]
            if re.match(r"[a-z][a-z+.-]*:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name) if name else path
            if not file.exists():
                yield f"{path}:{number}: {target}: no such file"
            elif anchor and not _has_anchor(file, anchor):
                yield f"{path}:{number}: {target}: no such heading"


def _has_anchor(file: Path, anchor: str) -> bool:
    return anchor in anchors(file) if file.suffix == ".md" else bool(LINES_OF_CODE.fullmatch(anchor))


def unknown_parameters(path: Path, params: dict) -> Iterator[str]:
    """Yield each parameter that a page sets by `-S` or names as `section.key` and that `params` does not have."""
    known = set(_dotted(params))
    text = path.read_text(encoding="utf-8")
    named = set(SETTING.findall(text))
    for _, code in CODE.findall("\n".join(prose_lines(path))):
        key = code.partition("=")[0].partition(":")[0]
        if key.partition(".")[0] in params and re.fullmatch(r"[a-z_]+(\.[a-z_0-9]+)+", key):
            named.add(key)
    scores = {"phantom"}  # a data set, too: phantom.f1 is a score
    for key in sorted(named - known):
        if key.partition(".")[0] not in scores and not key.endswith(FILES):
            yield f"{path}: {key}: no such parameter"


def _dotted(values: dict, prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        yield f"{prefix}{name}"
        if isinstance(value, dict):
            yield from _dotted(value, f"{prefix}{name}.")


def unmarked_blocks(path: Path) -> Iterator[str]:
    """Yield each `bash` block of a page that holds a placeholder and is not marked as not run."""
    for block in blocks(path):
        if found := PLACEHOLDERS.search(block.text):
            yield f"{path}:{block.line}: {found[0]!r} cannot be run: mark the block <!-- not run: reason -->"


def broken_tables(path: Path) -> Iterator[str]:
    """Yield each table without a header, and each row with more or fewer cells than its table's header."""
    numbered = enumerate(prose_lines(path), 1)
    for is_table, lines in itertools.groupby(numbered, lambda numbered_line: numbered_line[1].startswith("|")):
        rows = list(lines) if is_table else []
        if rows and not (len(rows) > 1 and RULE.fullmatch(rows[1][1].rstrip())):
            yield f"{path}:{rows[0][0]}: expected a header with a rule below it, as | --- |, got {rows[0][1]!r:.40}"
        cells = [len(re.findall(r"(?<!\\)\|", line)) - 1 for _, line in rows]
        for (number, _), count in zip(rows, cells, strict=True):
            if count != cells[0]:
                yield f"{path}:{number}: expected {cells[0]} cells as in the header of the table, got {count}"


def problems(path: Path, params: dict) -> Iterator[str]:
    """Yield all that is wrong with a page."""
    yield from broken_links(path)
    yield from unknown_parameters(path, params)
    yield from unmarked_blocks(path)
    yield from broken_tables(path)
    yield from hard_sentences(path)


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong with the pages; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.check_docs", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pages", nargs="*", type=Path, help="these pages alone (default: all)")
    given = parser.parse_args(arguments)
    params = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    found = [problem for path in given.pages or pages() for problem in problems(path, params)]
    print("\n".join(found), end="\n" if found else "")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
