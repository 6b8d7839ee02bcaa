"""Read pages of Markdown: their prose, their blocks of code, their sentences."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

GENERATED = "<!-- generated"  # how a generated page begins: its text is that of the code
FENCE = re.compile(r"^ *(```+|~~~+) *(\w*)")
COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)
MARK = re.compile(r"^<!-- not (?:run|compared): (\S.*) -->$")
INDENTED = re.compile(r" {4,}\S")  # code, as no list here is nested
CODE = re.compile(r"(`+)(.+?)\1")
MAX_WORDS = 29  # of a sentence; aim at 20
# What the project no longer says, in prose: the left column of the glossary.
OLD_WORDS = re.compile(
    r"\b(photograph\w*|drawn|drawings?|draws?|doubt\w*|answers?|quarter turns?|refus\w+|(?:one|a|the) sentence|upright"
    r"|people|persons|grey|hits?|miss(?:es|ed)|false alarms?|narrow\w*|centrelines?|original system|outbox|handover"
    r"|slack|recipes?|won|lost|unlike|no_fov|changed variants?|zoomed|bent|views"
    r"|shares?(?! (?:a|an|one|the|its|their|this|no)\b)|(?<!ground )truth)\b",
    re.IGNORECASE,
)


class Block(NamedTuple):
    """A fenced block: its language, first line (from 1), text, and why it is not run or compared (None: it is)."""

    language: str
    line: int
    text: str
    reason: str | None


def fenced_blocks(path: Path) -> list[Block]:
    """List all fenced blocks of a page."""
    return _parse(path)[1]


def blocks(path: Path) -> Iterator[Block]:
    """Yield the runnable `bash` blocks of a page, in order."""
    yield from (block for block in fenced_blocks(path) if block.language == "bash" and block.reason is None)


def prose_lines(path: Path) -> list[str]:
    """Return the lines of a page; those of blocks of code and of comments are empty."""
    return _parse(path)[0]


def _parse(path: Path) -> tuple[list[str], list[Block]]:
    """Split a page into its lines without code, and its fenced blocks."""
    text = path.read_text(encoding="utf-8")
    prose: list[str] = []
    code: list[str] = []
    found: list[Block] = []
    opened: re.Match[str] | None = None
    reason = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if opened and line.strip() == opened[1]:
            found.append(Block(opened[2], number - len(code), "".join(f"{each}\n" for each in code), reason))
            opened = None
        elif opened:
            code.append(line)
        elif fence:
            mark = MARK.match(prose[-1].strip()) if prose else None
            opened, reason, code = fence, mark and mark[1], []
        elif not INDENTED.match(line):
            prose.append(line)
            continue
        prose.append("")
    without = COMMENT.sub(lambda comment: "\n" * comment[0].count("\n"), "\n".join(prose))
    return without.split("\n"), found


def sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a page: of paragraphs, lists, cells, captions; code, or a list of it, is one word."""
    if path.read_text(encoding="utf-8").startswith(GENERATED):
        return
    for paragraph in _paragraphs(prose_lines(path)):
        text = re.sub(r"!?\[((?:[^\[\]]|\[[^\]]*\])*)\]\([^)]*\)", r"\1", CODE.sub("CODE", paragraph))
        text = re.sub(r"CODE(?:,? (?:and |or )?CODE)+", "CODE", text)
        text = re.sub(r"<[^>]+>|\*\*|(?<!\w)[*_]|[*_](?!\w)", "", text).replace("et al.", "et al")
        yield from filter(None, (part.strip() for part in re.split(r"(?<=[.!?])[\")]*\s+(?=[A-Z0-9(\"])", text)))


def _paragraphs(lines: list[str]) -> Iterator[str]:
    parts: list[str] = []
    for line in [*lines, ""]:
        bare = line.strip().lstrip("> ")
        starts = re.match(r"([-*+]|\d+\.)\s+(.*)", bare)
        if not bare or starts or bare.startswith(("|", "#", "![")):
            yield " ".join(parts)
            parts = []
        if bare.startswith("|"):
            yield from (cell for cell in re.split(r"(?<!\\)\|", bare) if not re.fullmatch(r"[\s:-]*", cell))
        elif bare:
            parts.append(starts[2] if starts else bare.lstrip("# "))


def word_count(sentence: str) -> int:
    """Count the words of a sentence; signs and punctuation alone are none.

    >>> word_count("Two words - and a CODE.")
    5
    """
    return sum(re.search(r"\w", word) is not None for word in sentence.split())


def hard_sentences(path: Path) -> Iterator[str]:
    """Yield the sentences of a page that are too long or use an old word."""
    for sentence in sentences(path):
        if word_count(sentence) > MAX_WORDS:
            yield f"{path}: {word_count(sentence)} words: {sentence}"
        if found := OLD_WORDS.search(sentence):
            yield f"{path}: {found[0]!r}: {sentence}"
