"""Run the `bash` blocks of tutorials and how-tos in a tiny project: python -m tools.run_guides [PAGE ...].

The tiny project is a copy of this one with few small images and a small network, whose pipeline has run and is
committed. Each page starts from a copy of it. Its blocks run in order in one shell, but for those marked
`<!-- not run: reason -->`. Where a `text` block follows in the same section, the output has to hold its lines, whatever
their numbers. Left out are lines with `...` and, as a whole, blocks marked `<!-- not compared: reason -->`.
"""

import argparse
import contextlib
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from robustness import scratch_project
from tools.markdown_pages import Block, fenced_blocks, prose_lines

PATTERNS = ("docs/tutorials/*.md", "docs/how-to/*.md")
PAGE_SECONDS = 420  # until a page is stopped
TAIL = 40  # lines of output in a message
TINY: scratch_project.Changes = {
    "phantom": {"n_test": 4},  # of fewer, there are no intervals
    "train": {"epochs": 1},
    "baselines": {"filters": []},
    "evaluate": {"tta_flips": False, "bootstrap_resamples": 200, "width_limits": [5.0, 9.0]},
    "regression_gate": {"bootstrap_resamples": 200},
    "record": {"log_model": False},
}
# What a page needs beside that.
NEEDS: dict[str, scratch_project.Changes] = {"docs/how-to/track-with-mlflow.md": {"record": {"log_model": True}}}


class GuideError(Exception):
    """A block of a guide failed, or its output is not the shown one."""


def guides() -> list[Path]:
    """List the guides that hold blocks to be run."""
    found = sorted(path for pattern in PATTERNS for path in Path().glob(pattern))
    return [path for path in found if runnable_blocks(path)]


def runnable_blocks(page: Path) -> list[tuple[Block, Block | None]]:
    """List the blocks to be run, each with the `text` block of the same section that shows its output, if any."""
    lines = prose_lines(page)

    def shows(block: Block, after: Block | None) -> bool:
        if after is None or after.language != "text" or after.reason is not None:
            return False
        return not any(line.startswith("#") for line in lines[block.line : after.line - 1])

    return [
        (block, after if shows(block, after) else None)
        for block, after in itertools.pairwise([*fenced_blocks(page), None])
        if block and block.language == "bash" and block.reason is None
    ]


def prepare(folder: Path) -> Path:
    """Create the tiny project in `folder`, with DVC's cache beside it, run its pipeline and commit."""
    project = folder / "project"
    scratch_project.copy_files(project)
    scratch_project.write_params(project, scratch_project.TINY, TINY)
    script = """
        git init --quiet --initial-branch main
        git config user.name Reader && git config user.email reader@example.org && git config commit.gpgsign false
        dvc config --local cache.dir ../cache
        dvc repro --quiet
        git add --all && git commit --quiet --message 'A run of tiny settings'"""
    run_script(script, project, folder / "prepare.log")
    return project


def copy_project(prepared: Path, project: Path) -> None:
    """Copy the prepared project and its cache, so that no page finds what another one has run."""
    for name in (prepared.name, "cache"):
        shutil.copytree(prepared.with_name(name), project.with_name(name), symlinks=True)


def run_page(page: Path, prepared: Path, folder: Path) -> None:
    """Run the blocks of a page in a copy of the prepared project.

    Raises:
        GuideError: a block failed, took too long, or wrote another output than the shown one.
    """
    project = folder / "project"
    copy_project(prepared, project)
    if changes := NEEDS.get(page.as_posix()):
        scratch_project.write_params(project, scratch_project.TINY, TINY, changes)
        run_script("dvc repro --quiet && git commit --quiet --all --message Needs", project, folder / "needs.log")
    run_blocks(page, project, folder / "output.log")


def run_blocks(page: Path, project: Path, log: Path, seconds: float = PAGE_SECONDS) -> None:
    """Run the blocks of a page in order in one shell, and compare shown outputs; errors as `run_page`."""
    blocks = runnable_blocks(page)
    run_script("\n".join(f"echo '== {page}:{block.line}'\n{block.text}" for block, _ in blocks), project, log, seconds)
    outputs = re.split(r"^== .*\n", log.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for (_, shown), output in zip(blocks, outputs, strict=True):
        for line in shown_lines(shown.text) if shown else ():
            if line not in set(shown_lines(output)):
                raise GuideError(f"{page}:{shown.line if shown else 0}: no line of the output is {line!r}:\n{output}")


def shown_lines(text: str) -> Iterator[str]:
    """Yield the lines with `#` in place of numbers and hashes; those with `...` and rules of a table are left out.

    >>> list(shown_lines("f1   0.8103  -1e-05\\nand so on ...\\n--- 1a2b3c4 [run]"))
    ['f1 # #', '--- # [run]']
    """
    for line in text.splitlines():
        if "..." not in line and line.strip(" ─"):
            plain = re.sub(r"(?<![\w.])([+-]?\d[\d.]*(e-?\d+)?|[0-9a-f]{7,40})(?!\w)", "#", line)
            yield " ".join(plain.split())


def run_script(script: str, folder: Path, log: Path, seconds: float = PAGE_SECONDS) -> None:
    """Run a script of bash; it writes to `log`.

    Raises:
        GuideError: it failed or took too long.
    """
    with log.open("w", encoding="utf-8") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder,
            env=_environment(log.parent),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            reason = f"exit code {process.wait(seconds)}"
        except subprocess.TimeoutExpired:
            reason = f"no end after {seconds:g} seconds"
        finally:
            kill_processes(log.parent)
            process.wait()
    if process.returncode:
        written = log.read_text(encoding="utf-8").splitlines()
        block = next((line[3:] for line in reversed(written) if line.startswith("== ")), str(log))
        raise GuideError("\n".join([f"{block}: {reason}", *written[-TAIL:]]))


def kill_processes(folder: Path) -> None:
    """Kill all processes that work below a folder, such as the workers of DVC's queue."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if Path(process.cwd()).is_relative_to(folder.resolve()):
                process.kill()


def _environment(folder: Path) -> dict[str, str]:
    """Return variables as of a new shell of a reader, with this Python first."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "GIT_", "MLFLOW_", "PYTEST_"))
    }
    return kept | {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "DVC_SITE_CACHE_DIR": str(folder / "site"),
        "TRACKING_LIVE": "false",
        "CI": "true",  # DVC looks for no newer version of itself
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the guides, print each with its seconds or its failure; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.run_guides", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("pages", nargs="*", type=Path, help="these pages alone (default: all guides)")
    failed = 0
    pages = parser.parse_args(arguments).pages or guides()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepare(Path(folder))
        for number, page in enumerate(pages):
            begin = time.perf_counter()
            (own := Path(folder, str(number))).mkdir()
            try:
                run_page(page, prepared, own)
                print(
                    f"{page}: {len(runnable_blocks(page))} blocks run, {time.perf_counter() - begin:.0f} s", flush=True
                )
            except GuideError as error:
                failed += 1
                print(error, flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
