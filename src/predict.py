"""From photographs to vessel maps: python -m src.predict PHOTOGRAPHS... --out DIR.

For each photograph DIR gets ID_probability.png and ID_doubt.png (16 bit, 65535 is 1), ID_vessels.png and
ID_overlay.png, and a row in photographs.csv. The same command goes on where an earlier one was stopped. It ends with 0
where all went well, 1 where photographs were refused (each is named, with the reason), 2 where nothing could be begun
or written, and 130 when it is stopped. For research, not for diagnosis.
"""

import argparse
import sys
from pathlib import Path

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


class Outcome:
    """How many photographs were predicted, had been before, and were refused."""

    def __init__(self) -> None:
        """None so far."""
        self.predicted, self.before, self.refused = 0, 0, 0

    def __str__(self) -> str:
        """The numbers in a sentence."""
        return f"{self.predicted} predicted, {self.before} done before, {self.refused} refused"


def run(tasks: list[Task], segmenter: Segmenter, journal: Journal) -> Outcome:
    """Predict what is not done yet; a photograph that is refused is named on stderr and in the journal.

    Raises:
        OSError: a result cannot be written.
    """
    outcome = Outcome()
    for task in tqdm(tasks, desc="predict", unit="photograph"):
        try:
            content = task.file.read_bytes()
        except OSError as error:
            _refuse(task, segmenter.row(task, b""), f"{task.file}: cannot be read ({error.strerror})", journal, outcome)
            continue
        begun, before = segmenter.row(task, content), journal.rows.get(str(task.file))
        if segmenter.is_done(task, begun, before):
            outcome.before += 1
            continue
        if before is not None:  # from now on its files are no longer those of that row
            journal.add(begun)
            results.remove(task)
        try:
            journal.add(segmenter.segment(task, content))
            outcome.predicted += 1
        except ValueError as error:
            _refuse(task, begun, str(error), journal, outcome)
    return outcome


def _refuse(task: Task, begun: dict[str, str], reason: str, journal: Journal, outcome: Outcome) -> None:
    results.remove(task)
    journal.add(begun | {"status": results.REFUSED, "reason": reason})
    tqdm.write(f"refused: {reason}", file=sys.stderr)
    outcome.refused += 1


def main() -> int:
    """Predict the photographs that the command line names; the exit code."""
    parser = _parser()
    given = parser.parse_args()
    cv2.setNumThreads(given.threads)
    try:
        segmenter = Segmenter(Exported(given.model, given.threads), given.flips, given.threshold)
        found = photographs.find(given.photographs, given.out)
        given.out.mkdir(parents=True, exist_ok=True)
        with stoppable(), filelock.FileLock(given.out / LOCK, timeout=0):
            journal = Journal(given.out / TABLE, results.COLUMNS)
            names = photographs.named(found, {path: row["id"] for path, row in journal.rows.items()})
            try:
                outcome = run([Task(file, names[file], given.out) for file in found], segmenter, journal)
            finally:
                journal.tidy()
    except filelock.Timeout:
        parser.error(f"{given.out}: another prediction writes to this folder")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 130
    print(f"{outcome}: {given.out / TABLE}")
    return 1 if outcome.refused else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m src.predict", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
    parser.add_argument("--threads", type=_count, default=2, metavar="N", help="of the processor; 2")
    return parser


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"expected a number between 0 and 1, got {text}")
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, got {text}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
