"""How a stage begins and how it fails: with one sentence."""

import sys
from collections.abc import Callable

from src.params import Params, load_params


def run(main: Callable[[Params], None]) -> None:
    """Call `main` with params.yaml; an error in params, data or disk ends the process with one sentence.

    Only the errors that our own code and the operating system raise about input are sentences; a defect keeps
    its traceback.
    """
    try:
        main(load_params())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
