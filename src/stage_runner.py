"""Start a stage with the paths of its command line and its sections of params.yaml; end it early with one message."""

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from src.common.signals import graceful_stop
from src.params import Params, load_params


def run_stage(main: Callable[..., object], sections: Callable[[Params], Mapping[str, object]]) -> None:
    """Call `main` with the paths that the command line names and the sections of params.yaml that it needs.

    Each parameter of `main` without a default that `sections` does not name is a required option of the command line:
    `model_file` is `--model-file PATH`. An error in parameters, data or disk, Ctrl-C and SIGTERM end the process with
    one message; a defect keeps its traceback.
    """
    try:
        with graceful_stop():
            values = sections(load_params())
            main(**_paths(main, values), **values)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped")


def _paths(main: Callable[..., object], known: Mapping[str, object]) -> dict[str, Path]:
    """The paths of the command line, by the parameter of `main`."""
    parser = argparse.ArgumentParser(description=inspect.getdoc(main), allow_abbrev=False)
    for name, parameter in inspect.signature(main).parameters.items():
        if name not in known and parameter.default is inspect.Parameter.empty:
            parser.add_argument(f"--{name.replace('_', '-')}", type=Path, required=True, metavar="PATH")
    return vars(parser.parse_args())
