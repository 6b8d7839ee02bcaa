"""How a stage begins and how it ends before its time: with one sentence."""

import sys
from collections.abc import Callable

from src.interruption import stoppable
from src.params import Params, load_params


def run(main: Callable[[Params], None]) -> None:
    """Call `main` with params.yaml; an error in params, data or disk ends the process with one sentence.

    So do Ctrl-C and SIGTERM. Only the errors that our own code and the operating system raise about input are
    sentences; a defect keeps its traceback.
    """
    try:
        with stoppable():
            main(load_params())
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt as stop:
        sys.exit(str(stop) or "stopped")
