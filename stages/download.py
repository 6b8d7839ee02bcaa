"""Convert the images of all data sets to one layout, split them into training, validation and test, and audit them."""

import sys
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from src.common import atomic_io
from src.common.project_root import real_root
from src.data import datasets, entries, fingerprint_tables, splits, subset_writer
from src.data.entries import Entry
from src.data.splits import Subsets, Uses
from src.params import Data, PhantomSection
from src.stage_runner import run_stage


def main(fingerprints: Path, out: Path, audit: Path, data: Data, phantom: PhantomSection) -> None:
    """Write out/train, out/validation and out/test, and the table of their audit to `audit`.

    Validation images are held out of the training images, by group, and so are test images with `data.test_fold`.
    `fingerprints` is the folder by which DVC notices changed custom data sets.
    """
    fingerprint_tables.remove_undefined(fingerprints, data.custom)
    names = sorted({*data.train, *data.test})
    found = {name: find_entries(name, data, phantom) for name in names}
    train = list(chain.from_iterable(found[name].train for name in names if name in data.train))
    test = list(chain.from_iterable(found[name].test for name in names if find_uses(name, data).test))
    if data.test_fold is not None:
        train, held_out = splits.hold_out_fold(train, data.test, *data.test_fold, data.seed)
        test += held_out
    for name in names:
        if name in datasets.PUBLIC and (unlisted := len(datasets.PUBLIC[name].unlisted)):
            tqdm.write(f"warning: {name}: {unlisted} files without an official hash are not verified", file=sys.stderr)
    splits.check_disjoint_groups((entry.group for entry in train), (entry.group for entry in test))
    train = splits.subsample(train, data.max_images_per_dataset, data.seed)
    subsets = {**splits.split_validation(train, data.validation_fraction, data.seed), "test": test}
    report = subset_writer.write_subsets(out, subsets)
    atomic_io.write_rows(audit, report.rows)
    for warning in report.warnings:
        tqdm.write(f"warning: {warning}", file=sys.stderr)


def find_uses(name: str, data: Data) -> Uses:
    """Return which official images of a data set are used; a fold of the training images replaces the test images."""
    train = name in data.train
    return Uses(train, name in data.test and not (train and data.test_fold))


def find_entries(name: str, data: Data, phantom: PhantomSection) -> Subsets[Entry]:
    """Find the training and test images of one data set."""
    uses = find_uses(name, data)
    if name == "phantom":
        return entries.synthetic_entries(phantom.n_train, phantom.n_test, phantom.height, phantom.width, phantom.seed)
    paths = {"folder": data.folder.path, **data.custom}  # relative to the current folder, as DVC hashes them
    if name in paths:
        return entries.custom_entries(name, Path(paths[name]), uses, data.folder.test_fraction, data.seed)
    return entries.public_entries(name, getattr(data.splits, name), uses, real_root(Path.cwd()))


if __name__ == "__main__":
    run_stage(main, lambda params: {"data": params.data, "phantom": params.phantom})
