"""Bring the photographs of all data sets to one layout: training, validation and test; audit them on the way."""

import sys
from itertools import chain
from pathlib import Path

from tqdm import tqdm

from src import datasets, download, files
from src.cli import run
from src.params import Data, PhantomSection
from src.root import real_root


def main(out: Path, table: Path, data: Data, phantom: PhantomSection) -> None:
    """Write out/train, out/validation and out/test, and what the audit found in them to `table`.

    Validation is held out of the training images by group.
    """
    names = sorted({*data.train, *data.test})
    found = {name: find(name, data, phantom) for name in names}
    train = list(chain.from_iterable(found[name].train for name in names if name in data.train))
    test = list(chain.from_iterable(found[name].test for name in names if name in data.test))
    datasets.refuse_shared_groups((entry.group for entry in train), (entry.group for entry in test))
    train = download.limit(train, data.limit, data.seed)
    report = download.write(out, {**download.hold_out(train, data.validation, data.seed), "test": test})
    files.write_rows(table, report.rows)
    for warning in report.warnings:
        tqdm.write(f"warning: {warning}", file=sys.stderr)


def find(name: str, data: Data, phantom: PhantomSection) -> datasets.Subsets:
    """The photographs of one data set."""
    uses = datasets.Subsets(name in data.train, name in data.test)
    if name == "phantom":
        return download.phantoms(phantom.train, phantom.test, phantom.height, phantom.width, phantom.seed)
    if name == "folder":
        return download.own(Path(data.folder.path), uses, data.folder.test, data.seed)  # as DVC hashes it, from here
    return download.public(name, getattr(data.splits, name), uses, real_root(Path.cwd()))


if __name__ == "__main__":
    run(lambda params: main(Path(sys.argv[1]), Path(sys.argv[2]), params.data, params.phantom))
