"""Predict large collections of images in parallel: `python -m src predict-batch`."""

import contextlib
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import dask
from distributed import Client, Future, LocalCluster, as_completed
from tqdm import tqdm

from src.common import atomic_io
from src.common.command_line import INTERRUPTED, command_parser, positive_integer
from src.common.processor import available_cores
from src.common.signals import graceful_stop
from src.inference.input_files import find_images, path_hash
from src.inference.predict import add_prediction_arguments, print_messages, summary
from src.inference.predict_folder import (
    TABLE,
    Outcome,
    PredictOptions,
    check_output_folder,
    load_predictor,
    predict_folder,
)

SHARD_DIGITS = 2  # of the hash: 256 subfolders, some 400 images each of a hundred thousand
LOCK_TIMEOUT = 600.0  # seconds that a task waits for a process that was taken for dead and still writes to its folder
CONNECT_SECONDS = 10.0
FAILED = "failed.csv"
DASK_SETTINGS = {
    "distributed.nanny.pre-spawn-environ.TQDM_DISABLE": "1",  # the bars of workers would be mixed
    "distributed.scheduler.allowed-failures": 100,  # workers that a subfolder may end; each image ends two at most
}
DESCRIPTION = """
Segment the retinal vessels of large collections of fundus images, by parallel processes of this machine or on a Dask
cluster. For research, not for diagnosis.

A hash of its path assigns each image to one of the subfolders part-00 to part-ff of the output folder. One task of Dask
fills each of them as `python -m src predict` fills its output folder. When a worker dies, another one resumes its task;
an image that ends two workers is rejected. The same command resumes after a stop.

With --cluster the workers are those of a Dask scheduler. Start each by `dask worker ADDRESS` in a copy of this project.
Images, model and output folder must have the same paths for all of them.
"""
EXIT_CODES = {
    0: "all images are predicted",
    1: "images were rejected or subfolders failed: each is named on stderr, subfolders also in failed.csv",
    2: "invalid arguments, or images, model, output folder or scheduler cannot be used",
    INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
}
EXAMPLES = ("archive/ --out maps --workers 8", "archive/ --out maps --cluster tcp://host:8786")


def shard_by_hash(files: list[Path], out: Path) -> dict[Path, list[Path]]:
    """Assign images to subfolders of `out`; that of an image does not depend on the other images."""
    shards = defaultdict(list)
    for file in files:
        shards[out / f"part-{path_hash(file, SHARD_DIGITS)}"].append(file)
    return dict(sorted(shards.items()))


def predict_shards(
    shards: dict[Path, list[Path]], options: PredictOptions, client: Client
) -> Iterator[tuple[Path, Outcome | str]]:
    """Predict the subfolders; yields each as it ends, with its outcome or the reason why it failed."""
    tasks = [
        client.submit(predict_folder, folder, files, options, LOCK_TIMEOUT, print_rejected=False, pure=False)
        for folder, files in shards.items()
    ]
    folders = {task.key: folder for task, folder in zip(tasks, shards, strict=True)}
    for task in as_completed(tasks):
        yield folders[task.key], _outcome(task)
        task.release()


def _outcome(task: Future) -> Outcome | str:
    error = task.exception()
    return task.result() if error is None else f"{type(error).__name__}: {error}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict the images that the command line names; returns the exit code."""
    parser = command_parser("predict-batch", DESCRIPTION, EXIT_CODES, EXAMPLES)
    add_prediction_arguments(parser)
    cores = available_cores()
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--workers",
        type=positive_integer,
        default=cores,
        metavar="N",
        help="processes (default: one per CPU core)",
    )
    where.add_argument("--cluster", metavar="ADDRESS", help="of a Dask scheduler, such as tcp://host:8786")
    given = parser.parse_args(arguments)
    threads = 1 if given.cluster else max(cores // given.workers, 1)
    options = PredictOptions(given.model.resolve(), threads, given.tta, given.field_angle, given.threshold)
    try:
        load_predictor(options)  # an invalid model is rejected before any worker starts
        out = given.out.resolve()
        files = find_images(given.images, out)
        print_messages(files)
        shards = shard_by_hash(files.images, out)
        for folder in shards:
            check_output_folder(folder)
        with graceful_stop(), _connect(given.workers, given.cluster) as client:
            return _report(predict_shards(shards, options, client), shards, out, summary(files))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return INTERRUPTED


@contextlib.contextmanager
def _connect(workers: int, cluster: str | None) -> Iterator[Client]:
    """Connect to workers of this machine, on loopback and with keys of their own, or to those of a cluster."""
    if cluster is not None:
        with Client(cluster, timeout=CONNECT_SECONDS) as client:
            yield client
        return
    with dask.config.set(DASK_SETTINGS), local_cluster(workers, encrypted=True) as own, Client(own) as client:
        yield client


def local_cluster(workers: int, encrypted: bool) -> LocalCluster:
    """Start workers of one thread each on loopback; Dask's status page, which cannot be off, has any free port."""
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        host="127.0.0.1",
        dashboard_address=None,
        scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
        security=encrypted or None,
    )


def _report(
    outcomes: Iterable[tuple[Path, Outcome | str]], shards: dict[Path, list[Path]], out: Path, not_read: str
) -> int:
    """Show the progress, name rejected images and failed subfolders, print the totals; returns the exit code."""
    total, failed = Outcome(), []
    with tqdm(total=sum(map(len, shards.values())), desc="predict", unit="image") as bar:
        for folder, outcome in outcomes:
            bar.update(len(shards[folder]))
            if isinstance(outcome, str):
                tqdm.write(f"failed: {folder}: {outcome}", file=sys.stderr)
                failed.append((folder.name, len(shards[folder]), outcome))
            else:
                outcome.print_rejected()
                total = total.plus(outcome)
    atomic_io.write_rows(out / FAILED, [("folder", "images", "reason"), *sorted(failed)])
    missing = sum(number for _, number, _ in failed)
    print(f"{total}, {missing} in failed subfolders{not_read}; part-*/{TABLE} have a row for each image")
    return 1 if total.rejected or failed else 0
