"""Run the experiments of README's table again and keep their results: python -m benchmarks.experiments NAME ...

Each is a `dvc exp run --temp` with the parameters that `experiments.yaml` lists, so that the working tree stays as it
is. Its tables go to metrics/experiments/NAME, with what it cost: the minutes of the train stage, the number of weights,
the seconds an image. With --table, the rows of README are printed from what is kept, with published ones beside.
"""

import argparse
import csv
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import yaml

from benchmarks import network

LIST = Path(__file__).with_name("experiments.yaml")
KEPT = Path("metrics/experiments")
HEAD = (
    *("run", "test set, images", "who", "weights", "minutes", "s/image", "F1", "mean F1 [95 %]", "AUC-ROC", "AUC-PR"),
    *("MCC", "clDice [95 %]", "thin recall [95 %]"),
)
WHO = {"model": "model", "second_observer": "second observer"}
NONE = "-"
PUBLISHED = (  # FOV, threshold a priori; weights, s/image, F1, AUC-ROC, AUC-PR, MCC, clDice
    # Galdran et al., Scientific Reports 12, 2022: the published weights and protocol, scored pooled at two threads
    ("little W-Net, trained on DRIVE", "`drive`, 20", "68 k", "1.23", ".8284", ".9810", ".9140", ".8030", ".835"),
    ("little W-Net, trained on DRIVE", "`chase_db1`, 28", "68 k", NONE, ".7597", ".9721", ".8364", ".7351", ".813"),
    # baselines of Idiap's deepdraw, one protocol for all
    ("little W-Net", "`chase_db1`, 20", "68 k", NONE, ".820", NONE, NONE, NONE, NONE),
    ("U-Net (VGG)", "`drive`, 20", "25.8 M", NONE, ".825", NONE, NONE, NONE, NONE),
    ("U-Net (VGG)", "`chase_db1`, 20", "25.8 M", NONE, ".807", NONE, NONE, NONE, NONE),
)


def run(name: str, changes: dict) -> None:
    """Run one experiment and keep its tables, its params.yaml and its cost."""
    settings = [part for key, value in changes.items() for part in ("-S", f"{key}={json.dumps(value)}")]
    command = ["dvc", "exp", "run", "--temp", "--force", "--name", name, *settings]
    begin = minutes = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            print(line, end="")
            if line.startswith(("Running stage", "Stage")):
                if begin is not None and minutes is None:
                    minutes = (time.monotonic() - begin) / 60
                if line.startswith("Running stage 'train'"):
                    begin = time.monotonic()
    if process.returncode:
        sys.exit(process.returncode)
    keep(name, minutes)


def keep(name: str, minutes: float | None) -> None:
    """Copy what the experiment committed to metrics/experiments; without `minutes` the former ones stay."""
    references = _git("for-each-ref", "--format=%(refname)", "refs/exps").decode().split()
    found = [line for line in references if line.split("/")[-1] == name and "/celery/" not in line]
    if len(found) != 1:
        raise ValueError(f"{name}: expected one experiment of that name, found {len(found)}; `dvc exp remove` others")
    listed = _git("ls-tree", "-r", "-z", "--name-only", found[0], "params.yaml", "metrics").decode().split("\0")
    for file in (file for file in listed if file and not file.startswith(KEPT.as_posix())):
        path = KEPT / name / file.removeprefix("metrics/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_git("show", f"{found[0]}:./{file}"))
    path = KEPT / name / "cost.json"
    cost = {"training_minutes": round(minutes, 1)} if minutes is not None else _cost(path.parent)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as apart:  # TensorFlow is set up once a process
        cost |= apart.submit(network.cost, path.with_name("params.yaml")).result()
    path.write_text(json.dumps(cost) + "\n", encoding="utf-8")


def table() -> Iterator[str]:
    """README's table of scores, line by line: the committed run, each experiment that is kept, published figures."""
    yield _line(HEAD)
    yield f"|{' --- |' * len(HEAD)}"
    yield from rows("repro", KEPT.parent)
    for folder in sorted(path.parent for path in KEPT.glob("*/summary.csv")):
        yield from rows(folder.name, folder)
    for who, images, weights, seconds, f1, auc_roc, auc_pr, mcc, cldice in PUBLISHED:
        yield _line(("published", images, who, weights, NONE, seconds, f1, NONE, auc_roc, auc_pr, mcc, cldice, NONE))


def rows(name: str, folder: Path) -> Iterator[str]:
    """The rows of one run: model and second observer on each test set, in the FOV."""
    with (folder / "summary.csv").open(newline="", encoding="utf-8") as file:
        summary = [row for row in csv.DictReader(file) if row["region"] == "fov"]
    cost = _cost(folder)
    for dataset in dict.fromkeys(row["dataset"] for row in summary):
        for observer, who in WHO.items():
            of = {row["score"]: row for row in summary if (row["dataset"], row["observer"]) == (dataset, observer)}
            if of:
                pooled = {score: _digits(row["pooled"]) for score, row in of.items()}
                spent = _spent(cost) if observer == "model" else (NONE,) * 3
                cells = (
                    *(name, f"`{dataset}`, {of['f1']['images']}", who, *spent, pooled["f1"], _interval(of["f1"])),
                    *(pooled.get("auc_roc", NONE), pooled.get("auc_pr", NONE), pooled["mcc"]),
                    *(_interval(of["cldice"]), _interval(of["recall_thin"])),
                )
                yield _line(cells)


def _cost(folder: Path) -> dict[str, float]:
    """What the run of that folder cost, nothing where nobody measured."""
    path = folder / "cost.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _spent(cost: dict[str, float]) -> tuple[str, str, str]:
    """Weights, minutes of training, seconds an image without and with flips."""
    if not cost:
        return (NONE,) * 3
    seconds = (f"{cost[key]:.2f}".lstrip("0") for key in ("seconds_an_image", "seconds_an_image_flipped"))
    return f"{cost['weights'] / 1e6:.2f} M", str(cost["training_minutes"]), " / ".join(seconds)


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _git(*arguments: str) -> bytes:
    return subprocess.check_output(["git", *arguments])


def _digits(value: str) -> str:
    return f"{float(value):.4f}".lstrip("0") if value else NONE


def _interval(row: dict[str, str]) -> str:
    mean, low, high = (f"{float(row[key]):.3f}".lstrip("0") if row[key] else NONE for key in ("mean", "low", "high"))
    return f"{mean} [{low}, {high}]"


def main() -> None:
    """Run the experiments that are named, or print the table."""
    listed = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser(prog="python -m benchmarks.experiments", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(listed))
    parser.add_argument("--table", action="store_true", help="print README's rows")
    given = parser.parse_args()
    unknown = [name for name in given.names if name not in listed]
    if unknown or not (given.names or given.table):
        parser.error(f"expected --table or some of {', '.join(listed)}, got {', '.join(unknown) or 'nothing'}")
    for name in given.names:
        run(name, listed[name])
    if given.table:
        print("\n".join(table()))


if __name__ == "__main__":
    main()
