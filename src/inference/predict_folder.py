"""Prediction of many images into one output folder, which resumes where an earlier run stopped."""

import contextlib
import functools
import sys
from pathlib import Path
from typing import NamedTuple

import cv2
import filelock
from tqdm import tqdm

from src.common import hashing
from src.common.csv_journal import Journal
from src.data import image_opening
from src.inference import image_predictor, input_files
from src.inference.image_predictor import ImageJob, ImagePredictor, Row
from src.inference.image_quality import FLAGS
from src.inference.onnx_model import OnnxModel

TABLE, LOCK = "predictions.csv", ".lock"
EARLIER_TABLE = "photographs.csv"  # of earlier versions
PARTIAL = ("several_images", "several_fields_of_view")  # the flags of images of which only a part is predicted
TRIES = 2  # after which an image that ended its process each time is rejected


class Outcome(NamedTuple):
    """Numbers of images predicted now and in earlier runs, and an error message for each rejected one."""

    predicted: int = 0
    already_done: int = 0
    rejected: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def plus(self, other: "Outcome") -> "Outcome":
        """Return the sum of both."""
        return Outcome(
            self.predicted + other.predicted,
            self.already_done + other.already_done,
            self.rejected + other.rejected,
            self.warnings + other.warnings,
        )

    def print_rejected(self) -> None:
        """Name the rejected images on stderr, and those of which only a part is predicted."""
        for reason in self.rejected:
            tqdm.write(f"rejected: {reason}", file=sys.stderr)
        for warning in self.warnings:
            tqdm.write(f"warning: {warning}", file=sys.stderr)

    def __str__(self) -> str:
        """Return the numbers as a phrase."""
        hint = " (see column reason)" if self.rejected else ""
        return f"{self.predicted} predicted, {self.already_done} already done, {len(self.rejected)} rejected{hint}"


class PredictOptions(NamedTuple):
    """Options of a run: the arguments of `OnnxModel` and `ImagePredictor`."""

    model: Path
    threads: int
    tta: bool
    field_angle: float | None
    threshold: float | None


def load_predictor(options: PredictOptions) -> ImagePredictor:
    """Load the network, once a process until its file changes; raises as `OnnxModel` does."""
    return _load_predictor(options, hashing.sha256(options.model) if options.model.is_file() else "")


@functools.lru_cache(maxsize=1)
def _load_predictor(options: PredictOptions, sha256: str) -> ImagePredictor:
    cv2.setNumThreads(options.threads)
    network = OnnxModel(options.model, options.threads)
    return ImagePredictor(network, options.tta, options.field_angle, options.threshold)


def check_output_folder(out: Path) -> None:
    """Raise ValueError where the folder holds results of an earlier version, which are not read."""
    earlier = out / EARLIER_TABLE
    if earlier.exists():
        raise ValueError(f"{earlier}: results of an earlier version; choose another output folder, or delete this one")


def predict_folder(
    out: Path, files: list[Path], options: PredictOptions, lock_timeout: float = 0.0, print_rejected: bool = True
) -> Outcome:
    """Predict images into an output folder that no other process may write to meanwhile; see `predict_jobs`.

    Raises:
        filelock.Timeout: another process has written to the folder for `lock_timeout` seconds.
        ValueError: the folder holds results of another version.
        OSError: an output cannot be written.
    """
    check_output_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(out / LOCK, timeout=lock_timeout):
        journal = _open_journal(out / TABLE)
        ids = input_files.assign_ids(files, {path: row["id"] for path, row in journal.rows.items()})
        jobs = [ImageJob(file, ids[file], out) for file in files]
        try:
            return predict_jobs(jobs, load_predictor(options), journal, print_rejected)
        finally:
            journal.compact()


def predict_jobs(jobs: list[ImageJob], predictor: ImagePredictor, journal: Journal, print_rejected: bool) -> Outcome:
    """Predict the images that are not up to date; record each, with the reason if it is rejected, in the journal.

    Raises:
        OSError: an output cannot be written.
    """
    total = Outcome()
    for job in tqdm(jobs, desc="predict", unit="image"):
        outcome = _predict_job(job, predictor, journal)
        if print_rejected:
            outcome.print_rejected()
        total = total.plus(outcome)
    return total


def _open_journal(table: Path) -> Journal:
    try:
        return Journal(table, image_predictor.COLUMNS)
    except ValueError as error:
        raise ValueError(f"{error}; choose another output folder, or delete this one") from error


def _predict_job(job: ImageJob, predictor: ImagePredictor, journal: Journal) -> Outcome:
    """Predict one image unless it is up to date."""
    earlier = journal.rows.get(str(job.file))
    try:
        if job.file.stat().st_size > image_opening.MAX_BYTES:
            reason = f"{job.file}: expected a file of at most {image_opening.MAX_BYTES} bytes, got a larger one"
            return _reject(job, predictor.started_row(job, None), reason, journal)
        content = job.file.read_bytes()
    except OSError as error:
        reason = f"{job.file}: cannot be read ({error.strerror})"
        if earlier is not None and earlier["status"] == image_predictor.DONE:  # the file may well be unchanged
            return Outcome(rejected=(f"{reason}; its earlier results stay",))
        return _reject(job, predictor.started_row(job, None), reason, journal)
    started = predictor.started_row(job, content)
    if predictor.is_up_to_date(job, started, earlier):
        return Outcome(already_done=1)
    return _predict_content(job, content, started, _count_tries(started, earlier), predictor, journal)


def _predict_content(
    job: ImageJob, content: bytes, started: Row, tries: int, predictor: ImagePredictor, journal: Journal
) -> Outcome:
    """Predict an image whose prediction ended the process `tries` times before."""
    if tries == TRIES:
        return _reject(job, started, f"{job.file}: its prediction ended the process {TRIES} times", journal)
    journal.add(started | {"reason": str(tries + 1)})  # from now on no earlier row describes its maps
    job.remove_maps()
    try:
        row = predictor.predict(job, content)
        journal.add(row)
    except ValueError as error:
        return _reject(job, started, str(error), journal)
    except MemoryError:
        return _reject(job, started, f"{job.file}: not enough memory to predict it", journal)
    except (KeyboardInterrupt, OSError):  # a stop by the user, or a full disk, is no failure of the image
        with contextlib.suppress(OSError):
            journal.add(started | {"reason": str(tries)})
        raise
    flags = row["quality"].split()
    return Outcome(predicted=1, warnings=tuple(f"{job.file}: {FLAGS[flag]}" for flag in PARTIAL if flag in flags))


def _count_tries(started: Row, earlier: Row | None) -> int:
    """Return how often this prediction, of equal KEYS, ended the process, as the reason of a started row records."""
    if earlier is None or earlier["status"] != image_predictor.STARTED:
        return 0
    return int(earlier["reason"]) if all(started[key] == earlier[key] for key in image_predictor.KEYS) else 0


def _reject(job: ImageJob, started: Row, reason: str, journal: Journal) -> Outcome:
    job.remove_maps()
    journal.add(started | {"status": image_predictor.REJECTED, "reason": reason})
    return Outcome(rejected=(reason,))
