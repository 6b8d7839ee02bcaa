"""Command `download`: download or locate public data sets, verify their files, and list what is known of them."""

import os
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from src.common.command_line import command_parser
from src.data import datasets
from src.data.dataset_types import DataSet
from src.data.file_verification import VerifiedFile, read_verified
from src.data.locate_files import VARIABLE, locate_files

DESCRIPTION = f"""
Locate public data sets, download what is missing, and verify every file by its SHA-256. Nothing is unpacked, and no
stage runs. Without NAME, list the data sets with reference, licence, splits and source.

The folder that the environment variable {VARIABLE} names is searched first, then data/archives, to which archives are
downloaded. drive, rbv, dr_hagis, les_av and fives are downloaded by hand: the message says from where.
"""
EXIT_CODES = {
    0: "all named data sets are complete and verified",
    1: "a data set is missing or incomplete, or a file is not the official one; the message says what to do",
    2: "invalid arguments",
}
EXAMPLES = ("", "drive chase_db1")
WIDTH = 100  # columns of the list


def main(arguments: Sequence[str] | None = None) -> int:
    """Locate, download and verify the named data sets, or list all; returns the exit code."""
    parser = command_parser("download", DESCRIPTION, EXIT_CODES, EXAMPLES)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"data sets: {', '.join(datasets.PUBLIC)}")
    names = parser.parse_args(arguments).names
    unknown = [name for name in names if name not in datasets.PUBLIC]
    if unknown:
        parser.error(f"NAME: expected one of {', '.join(datasets.PUBLIC)}, got {unknown[0]!r}")
    if not names:
        print("\n\n".join(map(describe, datasets.PUBLIC.values())))
        return 0
    complete = True
    for name in dict.fromkeys(names):
        try:
            print(verify(datasets.PUBLIC[name], Path()))
        except (ValueError, OSError) as error:
            print(f"error: {error}", file=sys.stderr)
            complete = False
    return 0 if complete else 1


def describe(dataset: DataSet) -> str:
    """Return what is known of a data set: key, description, splits and source."""
    source = dataset.by_hand or ", ".join(download.url for download in dataset.downloads)
    paragraphs = (dataset.description, f"splits: {', '.join(dataset.splits)}, all", f"source: {source}")
    return "\n".join([dataset.name, *map(_fill, paragraphs)])


def verify(dataset: DataSet, root: Path) -> str:
    """Locate or download all files of a data set, verify them, and return what was found where.

    Args:
        dataset: the public data set.
        root: the project folder.

    Raises:
        FileNotFoundError: a file is missing; the message says from where to get it and where to put it.
        ValueError: a file is broken or not the official one.
        OSError: an archive cannot be written.
    """
    found = locate_files(dataset, dataset.records, root)
    listed = datasets.manifest(dataset.name)
    verified = sorted(set(found) & set(listed))
    for place in tqdm(verified, desc=f"verify {dataset.name}", unit="file"):
        read_verified(VerifiedFile(found[place], listed[place]), listed)
    place = os.path.commonpath([file.path if file.member else file.path.parent for file in found.values()])
    counts = f"{len(dataset.records)} images, {len(found)} files, {len(verified)} verified"
    unlisted = len(found) - len(verified)
    return f"{dataset.name}: {counts}{f', {unlisted} without an official hash' if unlisted else ''}, in {place}"


def _fill(text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent="  ", subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
