"""Feed every reader damaged and hostile input: python -m robustness.fuzz_inputs [--examples N] [READER ...].

Each reader gets N inputs that Hypothesis generates (fewer of the slow ones, see `Reader.cost`), in a process of its own
with a limit of memory. An input is *accepted* (the result has the promised form), *rejected* (one error message that
names the file or key), or a *fault*: any other exception, a message without a name, more than MAX_SECONDS, a crash.
The smallest input that shows a fault is printed. Limits of archives are lowered, so that bombs are small.
"""

import argparse
import multiprocessing
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import NamedTuple

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings

from robustness.fuzzing import archives, images, networks, tables
from robustness.fuzzing.reader import Fault, Reader

MAX_SECONDS = 20.0  # of the processor for one input
MAX_READER_SECONDS = 7200  # of the processor for all inputs of a reader
MAX_MEMORY = 5 * 2**30  # bytes of address space
MAX_MESSAGE = 4000  # characters
SHOWN = 2000  # characters of a fault
REJECTIONS = (ValueError, FileNotFoundError)  # exactly these: subclasses come from the depths of a library


READERS = archives.READERS | images.READERS | tables.READERS | networks.READERS


class Counts(NamedTuple):
    """How many inputs of a reader were accepted and rejected, and the text of its faults."""

    accepted: int
    rejected: int
    faults: list[str]


def examine(reader: Reader, value: object, folder: Path) -> bool:
    """Read one input in an empty `folder`: True where it is accepted, False where it is rejected.

    Raises:
        Exception: a fault.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    signal.setitimer(signal.ITIMER_PROF, MAX_SECONDS)
    try:
        reader.read(value, folder)
    except REJECTIONS as error:
        message = str(error)
        if type(error) not in REJECTIONS:
            raise
        if not any(name in message for name in reader.names) or "\n" in message or len(message) > MAX_MESSAGE:
            raise Fault(f"unclear message: {message}") from error
        return False
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return True


def fuzz(name: str, examples: int, seed: int, folder: Path) -> Counts:
    """Examine inputs of a reader until there is a fault."""
    reader = READERS[name]
    results: list[bool] = []

    @hypothesis.seed(seed)
    @settings(
        max_examples=examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(reader.inputs)
    def run(value: object) -> None:
        results.append(examine(reader, value, folder))

    try:
        run()
    except Exception as error:  # what is looked for
        found = error.exceptions if isinstance(error, ExceptionGroup) else [error]
        faults = ["".join(traceback.format_exception(fault, limit=-3, chain=False))[:SHOWN] for fault in found]
        return Counts(sum(results), len(results) - sum(results), faults)
    return Counts(sum(results), len(results) - sum(results), [])


def _limit_process(memory: bool) -> None:
    """Limit this process: processor time of one input, and memory."""
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGPROF, _fail_too_long)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_READER_SECONDS, MAX_READER_SECONDS))
    if memory:
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))


def _fail_too_long(number: int, frame: object) -> None:
    raise Fault(f"more than {MAX_SECONDS:.0f} s")


def fuzz_apart(name: str, examples: int, seed: int, folder: Path) -> Counts:
    """Examine inputs in a process of its own; if it crashes, that is a fault, and its input is left in `folder`."""
    context, limits = multiprocessing.get_context("spawn"), (READERS[name].limit_memory,)
    with ProcessPoolExecutor(1, context, _limit_process, limits) as pool:
        try:
            return pool.submit(fuzz, name, examples, seed, folder).result()
        except BrokenProcessPool:
            return Counts(0, 0, [f"a crash, or more than {MAX_READER_SECONDS} s, on {folder}"])


def main() -> None:
    """Print a row a reader, then its faults; the exit code is 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m robustness.fuzz_inputs", description=__doc__.splitlines()[0])
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"some of: {', '.join(READERS)}")
    parser.add_argument("--examples", type=int, default=1000, help="of each reader (default: 1000)")
    parser.add_argument("--seed", type=int, default=1, help="of the inputs (default: 1)")
    arguments = parser.parse_args()
    if unknown := set(arguments.readers) - set(READERS):
        parser.error(f"expected some of {', '.join(READERS)}, got {', '.join(sorted(unknown))}")
    faults = 0
    print("| reader | inputs | accepted | rejected | faults | seconds |\n| --- | --- | --- | --- | --- | --- |")
    for name in arguments.readers or READERS:
        begin = time.monotonic()
        examples = max(arguments.examples // READERS[name].cost, 1)
        folder = Path(tempfile.mkdtemp()) / "input"
        counts = fuzz_apart(name, examples, arguments.seed, folder)
        faults += len(counts.faults)
        cells = (counts.accepted + counts.rejected, counts.accepted, counts.rejected, len(counts.faults))
        print(f"| {name} | {' | '.join(map(str, cells))} | {time.monotonic() - begin:.0f} |", flush=True)
        if counts.faults:
            print("\n".join(counts.faults), file=sys.stderr, flush=True)
        else:
            shutil.rmtree(folder.parent)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
