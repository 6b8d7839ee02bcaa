"""Write training, validation and test images to the layout of `samples`, and audit them."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from src.common import atomic_io, process_pool
from src.common.processor import available_cores
from src.data import audit, samples
from src.data.entries import Entry


def write_subsets(out: Path, subsets: Mapping[str, Sequence[Entry]]) -> audit.AuditReport:
    """Write each subset to out/<subset>, on all cores; the folders appear only when all of them are complete.

    Returns:
        The audit of the written images; where it raises an error, nothing is written.

    Raises:
        OSError: the disk has too little space.
        ValueError: an image is broken, or the audit rejects it.
    """
    pixels = sum(entry.pixel_count() for entries in subsets.values() for entry in entries)
    atomic_io.check_free_space(out, samples.PNG_BYTES * pixels)
    part = out / ".part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        jobs = [(part / subset, entry.dataset, entry.load) for subset, entries in subsets.items() for entry in entries]
        with process_pool.worker_pool(_write_image, jobs, available_cores()) as written:
            for _ in tqdm(written, desc="download", total=len(jobs), unit="image"):
                pass
        for subset, entries in subsets.items():
            samples.write_table(part / subset, [(entry.dataset, entry.id, entry.group) for entry in entries])
        report = audit.audit_subsets(part, subsets)
        for subset in subsets:
            shutil.rmtree(out / subset, ignore_errors=True)
            atomic_io.atomic_rename(part / subset, out / subset)
        return report
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _write_image(root: Path, dataset: str, load: Callable[[], samples.LabelledImage]) -> None:
    samples.write_labelled_image(root, dataset, load())
