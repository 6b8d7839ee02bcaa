"""Run named experiments again and keep their results: python -m experiments.run NAME ...

Each is a `dvc exp run --temp` with the parameters that `experiments.yaml` lists; the working tree stays as it is. All
others are those of params.yaml, which must not differ from the last commit.
Tables and parameters of the run go to metrics/experiments/NAME, with its cost: minutes of training, number of weights,
seconds per image at inference. With --table, results tables of all reported experiments are printed as Markdown.
"""

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from dvc.api import DVCFileSystem

from benchmarks import training_throughput
from experiments import results_tables
from experiments.results_tables import COST, KEPT, Experiment, load_experiments
from src.common import atomic_io

KEPT_SUFFIXES = (".csv", ".json")


def run(name: str, experiment: Experiment) -> None:
    """Run one experiment and keep its results."""
    settings = [part for key, value in experiment.params.items() for part in ("-S", f"{key}={json.dumps(value)}")]
    command = ["dvc", "exp", "run", "--temp", "--force", "--name", name, *settings]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        minutes = training_minutes(process.stdout or ())
    if process.returncode:
        sys.exit(process.returncode)
    keep(name, reference(name), minutes)


def params_differ() -> bool:
    """Say whether params.yaml differs from that of the last commit."""
    return subprocess.run(["git", "diff", "--quiet", "HEAD", "--", "params.yaml"], check=False).returncode != 0


def reference(name: str) -> str:
    """Return the git reference of the experiment of this name from the present commit; earlier commits may have one."""
    command = ["git", "rev-parse", "HEAD"]
    head = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    return f"refs/exps/{head[:2]}/{head[2:]}/{name}"


def training_minutes(lines: Iterable[str]) -> float:
    """Print the output of `dvc`, and return how long the train stage took; 0 without one."""
    begin, minutes = None, 0.0
    for line in lines:
        print(line, end="")
        if line.startswith(("Running stage", "Stage")):
            if begin is not None and not minutes:
                minutes = (time.monotonic() - begin) / 60
            if line.startswith("Running stage 'train'"):
                begin = time.monotonic()
    return minutes


def keep(name: str, revision: str, minutes: float) -> None:
    """Copy parameters and tables of a revision to metrics/experiments/NAME, with its cost beside them."""
    files, folder = DVCFileSystem(rev=revision), KEPT / name
    tables = [path for path in files.ls("metrics", detail=False) if path.endswith(KEPT_SUFFIXES)]
    for path in ["params.yaml", *tables]:
        atomic_io.write_bytes(folder / Path(path).name, files.read_bytes(path))
    cost = {"training_minutes": round(minutes, 1)}
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:  # TensorFlow is set up once a process
        cost |= pool.submit(training_throughput.measure_cost, folder / "params.yaml").result()
    atomic_io.write_text(folder / COST, json.dumps(cost) + "\n")


def main() -> None:
    """Run the named experiments, or print the tables."""
    experiments = load_experiments()
    parser = argparse.ArgumentParser(prog="python -m experiments.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(experiments))
    parser.add_argument("--table", action="store_true", help="print the results tables")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.names if name not in experiments]
    if unknown or not (arguments.names or arguments.table):
        found = ", ".join(unknown) or "nothing"
        parser.error(f"expected --table or some of {', '.join(experiments)}, got {found}")
    if arguments.names and params_differ():
        parser.error(
            "params.yaml: expected that of the last commit, found changes: `git checkout params.yaml` drops them"
        )
    for name in arguments.names:
        run(name, experiments[name])
    if arguments.table:
        print(results_tables.markdown())


if __name__ == "__main__":
    main()
