"""Run stages in one process, so that TensorFlow is imported once: FOLDER COMMAND [FOLDER COMMAND ...].

Each command is one of dvc.yaml, `python -m stages.NAME ...`.
"""

import contextlib
import runpy
import shlex
import sys


def run(folder: str, command: str) -> None:
    """Run a stage in `folder`, as Python would on its command line."""
    python, option, module, *arguments = shlex.split(command)
    if (python, option) != ("python", "-m"):
        raise ValueError(f"expected python -m MODULE, got {command}")
    sys.argv = [module, *arguments]
    with contextlib.chdir(folder):
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    for pair in zip(sys.argv[1::2], sys.argv[2::2], strict=True):
        run(*pair)
