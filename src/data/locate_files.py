"""Locate the files of a public data set in folders and archives, and download the archives that are missing."""

import os
import time
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import pooch
import requests

from src.data import archives
from src.data.archives import StoredFile
from src.data.dataset_types import DataSet, Download, Record
from src.data.image_files import is_leftover

VARIABLE = "FUNDUS_ARCHIVES"  # environment variable: the user's folder of data sets
TRIES = 3
TIMEOUT = 30  # seconds without an answer of the server
NETWORK_ERRORS = (requests.RequestException, ConnectionError, TimeoutError)  # other OSErrors are those of the disk
TEST_TRUTH = ("test/1st_manual", "test/2nd_manual")
NO_TEST_TRUTH = (
    "copies of DRIVE since 2019 lack the ground truth of the test images: get an older one, test on a "
    "part of the training images (data.test_fold), or do not test on it"
)
TRY_PHANTOM = "to try the pipeline without it, set data.train and data.test to [phantom]"


def locate_files(dataset: DataSet, used: Iterable[Record], root: Path) -> dict[str, StoredFile]:
    """Locate the files of a data set: below FUNDUS_ARCHIVES, else in data/archives, else downloaded to there.

    Args:
        dataset: the public data set.
        used: its images whose files must be there.
        root: the project folder, which holds data/archives.

    Returns:
        The files found, by their place in the official layout.

    Raises:
        FileNotFoundError: a needed file is missing; the message says where to get it and where to put it.
        ValueError: an archive is broken.
        OSError: a downloaded archive cannot be written.
    """
    used = list(used)
    places = [place for record in dataset.records for place in record.files.present()]
    kept = root / "data" / "archives"
    given = os.environ.get(VARIABLE)
    searched = [root / Path(given).expanduser(), kept] if given else [kept]
    if given and not searched[0].is_dir():
        raise FileNotFoundError(f"{searched[0]}: expected a folder, as {VARIABLE} names it, found none")
    for folder in searched:
        found = _search(dataset, places, folder)
        if found and not (folder == kept and _missing(used, found) and _not_downloaded(dataset, kept)):
            _check_complete(dataset, used, found, folder)
            return found
    _download_archives(dataset, kept, searched)
    found = _search(dataset, places, kept)
    _check_complete(dataset, used, found, kept)
    return found


def _search(dataset: DataSet, places: Iterable[str], folder: Path) -> dict[str, StoredFile]:
    """Return the official files found below the data set's folders and archives in `folder`.

    A file is recognised by the last parts of its path, so archives may hold further folders around the layout.
    """
    if not folder.is_dir():
        return {}
    endings: dict[str, StoredFile] = {}
    for candidate in sorted(filter(partial(_is_named_after, dataset), folder.iterdir())):
        for place, file in sorted(archives.list_files(candidate), key=lambda pair: len(pair[0].parts)):
            parts = str(place).casefold().removesuffix(".gz").split("/")
            for count in range(1, min(len(parts), 3) + 1):
                endings.setdefault("/".join(parts[-count:]), file)
    return {place: endings[place.casefold()] for place in places if place.casefold() in endings}


def _is_named_after(dataset: DataSet, path: Path) -> bool:
    name = "".join(filter(str.isalnum, archives.stem(path).lower()))
    is_named = name in dataset.names and not is_leftover(path.name)  # macOS leaves ._NAME.zip beside NAME.zip
    return is_named and (path.is_dir() or archives.is_archive(path))


def _missing(used: Iterable[Record], found: Mapping[str, StoredFile]) -> list[str]:
    return [place for record in used for place in record.files.present() if place not in found]


def _not_downloaded(dataset: DataSet, kept: Path) -> list[Download]:
    return [download for download in dataset.downloads if not (kept / download.file).exists()]


def _check_complete(dataset: DataSet, used: Iterable[Record], found: Mapping[str, StoredFile], folder: Path) -> None:
    missing = _missing(used, found)
    if not missing:
        return
    more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
    reason = f"{folder}: expected {missing[0]}{more} of {dataset.name}, missing"
    if dataset.name == "drive" and all(place.startswith(TEST_TRUTH) for place in missing):
        reason += f"; {NO_TEST_TRUTH}"
    raise FileNotFoundError(reason)


def _download_archives(dataset: DataSet, kept: Path, searched: Iterable[Path]) -> None:
    """Download the missing archives of a data set to `kept`.

    Raises:
        FileNotFoundError: there is no download, no network or no such file; the message says what to do.
        OSError: `kept` cannot be written (no space, no permission).
    """
    absent = f"{dataset.name}: not found in {' or '.join(map(str, searched))}"
    if not dataset.downloads:
        raise FileNotFoundError(f"{absent}; {dataset.by_hand}, and put it into {kept}; {TRY_PHANTOM}")
    for download in _not_downloaded(dataset, kept):
        try:
            _retrieve(download, kept)
        except (*NETWORK_ERRORS, ValueError) as error:
            raise FileNotFoundError(
                f"{absent}, and not to be had from {download.url} ({type(error).__name__}: {error}); put "
                f"{download.file} into {kept}; {TRY_PHANTOM}"
            ) from error
        except OSError as error:
            raise OSError(f"{kept / download.file}: cannot be downloaded to here ({error})") from error


def _retrieve(download: Download, kept: Path) -> None:
    """Download one archive atomically, with a progress bar.

    Raises:
        One of `NETWORK_ERRORS`, or ValueError: no network or another file than expected, `TRIES` times.
        OSError: it cannot be written; there is no second try.
    """
    for remaining in reversed(range(TRIES)):
        try:
            downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT)
            pooch.retrieve(download.url, download.sha256, download.file, kept, downloader=downloader)
            return _check_archive(kept / download.file)
        except (*NETWORK_ERRORS, ValueError):
            if not remaining:
                raise
            time.sleep(TRIES - remaining)


def _check_archive(path: Path) -> None:
    """Delete a download that is no archive (a log-in page, say), and raise ValueError."""
    try:
        archives.list_files(path)
    except ValueError:
        path.unlink()
        raise
