"""Photographs by the hundred thousand to vessel maps: python -m src.batch PHOTOGRAPHS... --out DIR.

A hash of its path deals each photograph to one of the folders DIR/part-00 to DIR/part-ff, which `src.predict` fills,
each as a task of Dask. A worker that dies loses nothing: another takes the task and begins where the results end; a
photograph that ends two workers is refused. The same command goes on where an earlier one was stopped. It ends with 0
where all went well, 1 where photographs were refused or a folder could not be filled (each is named, folders also in
DIR/failed.csv), 2 where nothing could be begun, and 130 when it is stopped.

With --cluster the workers are those of a scheduler of Dask, each started by `dask worker ADDRESS` in a copy of this
project; photographs, network and DIR must be at the same paths for all. For research, not for diagnosis.
"""

import contextlib
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, as_completed
from tqdm import tqdm

from src import files, photographs, predict
from src.interruption import stoppable
from src.predict import Outcome

DIGITS = 2  # of the hash: 256 folders, some 400 photographs each of a hundred thousand
PATIENCE = 600.0  # seconds that a task waits for a process that was given up as dead and still writes to its folder
CONNECT_SECONDS = 10.0
FAILED = "failed.csv"
DASK = {
    "distributed.nanny.pre-spawn-environ.TQDM_DISABLE": "1",  # the bars of workers would be mixed
    "distributed.scheduler.allowed-failures": 100,  # workers that a folder may end; each photograph ends few
}


def dealt(found: list[Path], out: Path) -> dict[Path, list[Path]]:
    """The photographs of each folder below `out`; a file is dealt alike whatever others there are."""
    parts = defaultdict(list)
    for file in found:
        parts[out / f"part-{photographs.digits(file, DIGITS)}"].append(file)
    return dict(sorted(parts.items()))


def run(
    parts: dict[Path, list[Path]], options: predict.Options, client: Client
) -> Iterator[tuple[Path, Outcome | str]]:
    """What became of each folder, as they come: an outcome, or why it could not be filled."""
    tasks = [
        client.submit(predict.fill, out, dealt_files, options, PATIENCE, aloud=False, key=out.name, pure=False)
        for out, dealt_files in parts.items()
    ]
    folders = {task.key: out for task, out in zip(tasks, parts, strict=True)}
    for task in as_completed(tasks):
        yield folders[task.key], _outcome(task)
        task.release()


def _outcome(task: Future) -> Outcome | str:
    error = task.exception()
    return task.result() if error is None else f"{type(error).__name__}: {error}"


def main() -> int:
    """Predict the photographs that the command line names; the exit code."""
    parser = predict.arguments("python -m src.batch", __doc__)
    cores = os.cpu_count() or 1
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--workers", type=predict.count, default=cores, metavar="N", help=f"processes here; {cores}")
    where.add_argument("--cluster", metavar="ADDRESS", help="of a scheduler of Dask, such as tcp://host:8786")
    given = parser.parse_args()
    threads = 1 if given.cluster else max(cores // given.workers, 1)
    options = predict.Options(given.model.resolve(), threads, given.flips, given.threshold)
    try:
        predict.load(options)  # a wrong network is refused before any worker starts
        out = given.out.resolve()
        parts = dealt(photographs.find(given.photographs, out), out)
        with stoppable(), _client(given.workers, given.cluster) as client:
            return _follow(run(parts, options, client), parts, out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command goes on from there", file=sys.stderr)
        return 130


@contextlib.contextmanager
def _client(workers: int, cluster: str | None) -> Iterator[Client]:
    """Workers of this machine, on loopback and with keys of their own; or those of a cluster."""
    if cluster is not None:
        with Client(cluster, timeout=CONNECT_SECONDS) as client:
            yield client
        return
    settings = {"n_workers": workers, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
    with dask.config.set(DASK), LocalCluster(security=True, **settings) as own, Client(own) as client:
        yield client


def _follow(coming: Iterable[tuple[Path, Outcome | str]], parts: dict[Path, list[Path]], out: Path) -> int:
    """Show how far it is, name what was refused and what failed, print the sum; the exit code."""
    total, failed = Outcome(), []
    with tqdm(total=sum(map(len, parts.values())), desc="predict", unit="photograph") as bar:
        for folder, outcome in coming:
            bar.update(len(parts[folder]))
            if isinstance(outcome, str):
                tqdm.write(f"failed: {folder}: {outcome}", file=sys.stderr)
                failed.append((folder.name, len(parts[folder]), outcome))
            else:
                outcome.tell()
                total = total.plus(outcome)
    files.write_rows(out / FAILED, [("folder", "photographs", "reason"), *sorted(failed)])
    missing = sum(number for _, number, _ in failed)
    print(f"{total}, {missing} in folders that failed; part-*/{predict.TABLE} have a row a photograph")
    return 1 if total.refused or failed else 0


if __name__ == "__main__":
    sys.exit(main())
