"""From photographs to vessel maps: python -m src.predict PHOTOGRAPHS... --out DIR.

For each photograph DIR gets ID_probability.png and ID_doubt.png (16 bit, 65535 is 1), ID_vessels.png and
ID_overlay.png, and a row in photographs.csv. The same command goes on where an earlier one was stopped. It ends with 0
where all went well, 1 where photographs were refused (each is named, with the reason), 2 where nothing could be begun
or written, and 130 when it is stopped. For research, not for diagnosis.
"""

import argparse
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import filelock
from tqdm import tqdm

from src import photographs, results
from src.exported import Exported
from src.interruption import stoppable
from src.journal import Journal
from src.results import Segmenter, Task

MODEL = Path(__file__).parents[1] / "models" / "compact.onnx"
TABLE, LOCK = "photographs.csv", ".lock"
TRIES = 2  # after which a photograph that ended its process each time is refused


class Outcome(NamedTuple):
    """How many photographs were predicted and had been before, and why others were refused, a sentence each."""

    predicted: int = 0
    before: int = 0
    refused: tuple[str, ...] = ()

    def plus(self, other: "Outcome") -> "Outcome":
        """Those of both."""
        return Outcome(*(mine + others for mine, others in zip(self, other, strict=True)))

    def tell(self) -> None:
        """Name on stderr what was refused."""
        for reason in self.refused:
            tqdm.write(f"refused: {reason}", file=sys.stderr)

    def __str__(self) -> str:
        """The numbers in a sentence."""
        return f"{self.predicted} predicted, {self.before} done before, {len(self.refused)} refused"


class Options(NamedTuple):
    """How photographs are predicted: the arguments of `Exported` and of `Segmenter`."""

    model: Path
    threads: int
    flips: bool
    threshold: float | None


@functools.cache
def load(options: Options) -> Segmenter:
    """The network, loaded once a process; errors as of `Exported`."""
    cv2.setNumThreads(options.threads)
    return Segmenter(Exported(options.model, options.threads), options.flips, options.threshold)


def fill(out: Path, files: list[Path], options: Options, patience: float = 0.0, aloud: bool = True) -> Outcome:
    """Predict these photographs into a folder that no other process writes to meanwhile; see `run`.

    Unless `aloud`, refused ones are named by whoever is handed the outcome.

    Raises:
        filelock.Timeout: another process has written to it for `patience` seconds.
        ValueError: the folder holds a table of another kind.
        OSError: a result cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(out / LOCK, timeout=patience):
        journal = Journal(out / TABLE, results.COLUMNS)
        names = photographs.named(files, {path: row["id"] for path, row in journal.rows.items()})
        try:
            return run([Task(file, names[file], out) for file in files], load(options), journal, aloud)
        finally:
            journal.tidy()


def run(tasks: list[Task], segmenter: Segmenter, journal: Journal, aloud: bool) -> Outcome:
    """Predict what is not done yet; a photograph that is refused is named in the journal, and `aloud` on stderr.

    Raises:
        OSError: a result cannot be written.
    """
    outcome = Outcome()
    for task in tqdm(tasks, desc="predict", unit="photograph"):
        one = _one(task, segmenter, journal)
        if aloud:
            one.tell()
        outcome = outcome.plus(one)
    return outcome


def _one(task: Task, segmenter: Segmenter, journal: Journal) -> Outcome:
    """Predict one photograph, or not."""
    before = journal.rows.get(str(task.file))
    try:
        content = task.file.read_bytes()
    except OSError as error:
        reason = f"{task.file}: cannot be read ({error.strerror})"
        if before is not None and before["status"] == results.DONE:  # for all that is known, it is what it was
            return Outcome(refused=(f"{reason}; its earlier results stay",))
        return _refuse(task, segmenter.row(task, None), reason, journal)
    begun = segmenter.row(task, content)
    if segmenter.is_done(task, begun, before):
        return Outcome(before=1)
    tries = _tries(begun, before)
    if tries == TRIES:
        return _refuse(task, begun, f"{task.file}: its prediction ended the process {TRIES} times", journal)
    journal.add(begun | {"reason": str(tries + 1)})  # from now on no earlier row tells of its files
    results.remove(task)
    try:
        journal.add(segmenter.segment(task, content))
    except ValueError as error:
        return _refuse(task, begun, str(error), journal)
    except MemoryError:
        return _refuse(task, begun, f"{task.file}: there is not the memory to predict it", journal)
    except KeyboardInterrupt:
        journal.add(begun | {"reason": str(tries)})  # which is not its fault
        raise
    return Outcome(predicted=1)


def _tries(begun: dict[str, str], before: dict[str, str] | None) -> int:
    """How often this photograph was begun and the process ended; its reason in the journal says so."""
    same = before is not None and before["status"] == results.BEGUN and before["sha256"] == begun["sha256"]
    return int(before["reason"] or 0) if same else 0  # an earlier version left the reason empty


def _refuse(task: Task, begun: dict[str, str], reason: str, journal: Journal) -> Outcome:
    results.remove(task)
    journal.add(begun | {"status": results.REFUSED, "reason": reason})
    return Outcome(refused=(reason,))


def main() -> int:
    """Predict the photographs that the command line names; the exit code."""
    parser = arguments("python -m src.predict", __doc__)
    parser.add_argument("--threads", type=count, default=2, metavar="N", help="of the processor; 2")
    given = parser.parse_args()
    options = Options(given.model, given.threads, given.flips, given.threshold)
    try:
        load(options)  # a wrong network is refused first
        found = photographs.find(given.photographs, given.out)
        with stoppable():
            outcome = fill(given.out, found, options)
    except filelock.Timeout:
        parser.error(f"{given.out}: another prediction writes to this folder")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 130
    print(f"{outcome}: {given.out / TABLE}")
    return 1 if outcome.refused else 0


def arguments(program: str, description: str) -> argparse.ArgumentParser:
    """What photographs to predict, with which network, and how."""
    parser = argparse.ArgumentParser(
        prog=program, description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", nargs="+", help="files, folders (with all below them) or quoted patterns")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the results")
    parser.add_argument(
        "--model", type=Path, default=MODEL, metavar="FILE", help="a packed network; models/compact.onnx"
    )
    parser.add_argument(
        "--flips",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="mean over four flips, which also gives the doubt; without, four times as fast",
    )
    parser.add_argument(
        "--threshold", type=_share, metavar="P", help="probability above which is vessel; the network's"
    )
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return value


def count(text: str) -> int:
    """A number of at least 1, from the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
