"""The commands of the project: `python -m src COMMAND`. A command's module is imported when the command is chosen."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from src.common.command_line import INTERRUPTED, PROGRAM, ManualFormatter

PROJECT = Path(__file__).parents[1]


class Command(NamedTuple):
    """A command: the module whose `main` runs it, what it does, and whether it reads files of the project folder."""

    module: str
    summary: str
    needs_project: bool


COMMANDS = {
    "predict": Command("src.inference.predict", "segment the vessels of images", False),
    "predict-batch": Command("src.inference.predict_batch", "the same for large collections, in parallel", False),
    "app": Command("src.serving.web_app", "serve a web page on this machine that segments images", False),
    "package": Command("src.serving.package_model", "pack the trained network into one file for these three", True),
    "compare": Command("src.evaluation.compare_runs", "compare the scores of two runs image by image", False),
    "gate": Command("src.evaluation.regression_gate", "fail when a change makes scores worse", True),
    "registry": Command("src.tracking.model_registry", "list and promote versions of the registered model", True),
    "sync": Command("src.tracking.sync", "send runs of the local MLflow store to a server", True),
    "download": Command("src.data.download_cli", "fetch, verify and list public data sets", True),
}
HELP = {"-h", "--help"}
INVALID = 2
CLOSED_PIPE = 141  # as of a process that SIGPIPE ends


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command that the arguments name; returns its exit code."""
    name, *rest = (sys.argv[1:] if arguments is None else arguments) or [""]
    if name in HELP:
        print(_help())
        return 0
    command = COMMANDS.get(name)
    if command is None:
        got = f"got {name!r}" if name else "got none"
        print(f"error: expected one of the commands {', '.join(COMMANDS)}, {got}", file=sys.stderr)
        return INVALID
    if command.needs_project and HELP.isdisjoint(rest) and not Path("params.yaml").is_file():
        place = f"expected to run in the project folder {PROJECT}, got {Path.cwd()}"
        print(f"error: {PROGRAM} {name}: {place}", file=sys.stderr)
        return INVALID
    try:
        return importlib.import_module(command.module).main(rest)
    except ModuleNotFoundError as error:
        package = (error.name or "src").partition(".")[0]
        if package == "src":  # a defect of the project
            raise
        requirements = "requirements/predict.txt" if name == "predict" else "requirements.txt"
        install = f"this command needs the package {package}: pip install -r {requirements}"
        print(f"error: {PROGRAM} {name}: {install}", file=sys.stderr)
        return INVALID


def _help() -> str:
    """Return the help page that lists all commands."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {command.summary}" for name, command in COMMANDS.items())
    return argparse.ArgumentParser(
        prog=PROGRAM,
        usage=f"{PROGRAM} COMMAND [arguments]",
        description=f"Segment the blood vessels in colour fundus images.\n\ncommands:\n{listed}",
        epilog=f"`{PROGRAM} COMMAND --help` explains a command. The pipeline itself is run by `dvc repro`.",
        formatter_class=ManualFormatter,
    ).format_help()


def run() -> int:
    """Run the command of this process; ends quietly on Ctrl-C, and where a reader of its output, as `head`, is gone."""
    try:
        try:
            return main()
        finally:
            sys.stdout.flush()
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        if _stdout_is_open():
            raise  # another pipe broke
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is flushed at exit
        return CLOSED_PIPE


def _stdout_is_open() -> bool:
    try:
        print(flush=True)
    except BrokenPipeError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(run())
