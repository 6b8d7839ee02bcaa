"""Find or fetch a data set, verify each file, and bring every photograph to the one layout of `samples`."""

import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pooch
import requests
from tqdm import tqdm

from src import archives, audit, datasets, decode, files, folder, fov, phantom, samples, workers
from src.archives import File
from src.datasets import DataSet, Download, Record, Subsets

VARIABLE = "FUNDUS_ARCHIVES"
TRIES = 3
TIMEOUT = 30  # seconds without an answer
NETWORK_ERRORS = (requests.RequestException, ConnectionError, TimeoutError)  # others are those of the disk
FIRST_TEST = 5000  # number of the first test phantom, whatever the number of training phantoms
TEST_TRUTH = ("test/1st_manual", "test/2nd_manual")
NO_TEST_TRUTH = "copies of DRIVE since 2019 lack the truth of the test images: get an older one, or do not test on it"
TRY_PHANTOM = "to try the pipeline without it, set data.train and data.test to [phantom]"


class Entry(NamedTuple):
    """A photograph that can be loaded; `load` works in another process, too. `pixels` says how many it has."""

    dataset: str
    id: str
    group: str
    load: Callable[[], samples.Eye]
    pixels: Callable[[], int]


class Verified(NamedTuple):
    """A file and the SHA-256 that it must have (None: not known)."""

    file: File
    sha256: str | None


def phantoms(train: int, test: int, height: int, width: int, seed: int) -> Subsets:
    """The drawn photographs, each a group of its own: numbers from 0 for training, from `FIRST_TEST` for testing."""

    def entry(number: int) -> Entry:
        id_ = f"{number:04d}"
        return Entry(
            "phantom",
            id_,
            f"phantom-{id_}",
            partial(_load_phantom, id_, seed, number, height, width),
            partial(int, height * width),
        )

    return Subsets(tuple(map(entry, range(train))), tuple(map(entry, range(FIRST_TEST, FIRST_TEST + test))))


def own(path: Path, uses: Subsets, share: float, seed: int) -> Subsets:
    """The user's photographs at `path`; a `share` of groups is for testing where they are trained on, too."""
    found = folder.find(path)
    groups = [photograph.group for photograph in found]
    if uses.train and uses.test:
        try:
            held_out = datasets.split_groups(groups, share, seed)
        except ValueError as error:
            raise ValueError(f"data.folder.test: {error}") from error
    else:
        held_out = frozenset(groups if uses.test else ())
    entries = [(photograph.group in held_out, _own_entry(photograph)) for photograph in found]
    return Subsets(tuple(e for test, e in entries if not test), tuple(e for test, e in entries if test))


def public(name: str, split: str, uses: Subsets, root: Path) -> Subsets:
    """The photographs of a public set, its archives found or fetched; `root` is the project folder.

    `uses` says whether the set is trained on and tested on: files of the other part may be missing. All
    files that are there and listed are verified, here or when they are loaded.

    Raises:
        FileNotFoundError: the set, or a file of it, is missing; the sentence says where to get it and put it.
        ValueError: the split does not fit, or a file or archive is broken or not the official one.
    """
    if split == "all" and uses.train:
        raise ValueError(
            f"data.splits.{name}: expected {' or '.join(datasets.PUBLIC[name].splits)}, since data.train lists {name}, "
            "got all (every image a test image)"
        )
    records = datasets.subsets(name, split)
    used = [record for part, use in zip(records, uses, strict=True) if use for record in part]
    found = locate(datasets.PUBLIC[name], used, root)
    listed = datasets.manifest(name)
    _refuse_unknown(datasets.PUBLIC[name], listed)
    needed = {file for record in used for file in record.files()}
    for place in sorted(set(listed) & set(found) - needed):
        _verified_bytes(Verified(found[place], listed[place]), listed)
    parts = (
        tuple(_public_entry(name, record, found, listed) for record in part) if use else ()
        for part, use in zip(records, uses, strict=True)
    )
    return Subsets(*parts)


def locate(dataset: DataSet, used: Iterable[Record], root: Path) -> dict[str, File]:
    """Where each file of the set lies: below FUNDUS_ARCHIVES, else data/archives, else fetched to the latter."""
    places = [place for record in dataset.records for place in record.files()]
    kept = root / "data" / "archives"
    given = os.environ.get(VARIABLE)
    searched = [root / Path(given).expanduser(), kept] if given else [kept]
    if given and not searched[0].is_dir():
        raise FileNotFoundError(f"{searched[0]}: expected a folder, as {VARIABLE} names it, found none")
    for place in searched:
        found = _search(dataset, places, place)
        if found and not (place == kept and _missing(used, found) and _to_fetch(dataset, kept)):
            _refuse_missing(dataset, used, found, place)
            return found
    _fetch(dataset, kept, searched)
    found = _search(dataset, places, kept)
    _refuse_missing(dataset, used, found, kept)
    return found


def write(out: Path, subsets: Mapping[str, Iterable[Entry]]) -> audit.Report:
    """Write each subset to out/<subset>, on all cores; nothing appears under its final name before all are whole.

    Returns the audit of what is written; where that refuses it, nothing is.

    Raises:
        OSError: the disk has not the space.
    """
    pixels = sum(entry.pixels() for entries in subsets.values() for entry in entries)
    files.refuse_lack_of_space(out, samples.PNG_BYTES * pixels)
    part = out / ".part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        jobs = [(part / subset, entry.dataset, entry.load) for subset, entries in subsets.items() for entry in entries]
        with workers.working(_write_eye, jobs, _cores()) as written:
            for _ in tqdm(written, desc="download", total=len(jobs), unit="photograph"):
                pass
        for subset, entries in subsets.items():
            samples.write_table(part / subset, [entry[:3] for entry in entries])
        report = audit.run(part, subsets)
        for subset in subsets:
            shutil.rmtree(out / subset, ignore_errors=True)
            files.publish(part / subset, out / subset)
        return report
    finally:
        shutil.rmtree(part, ignore_errors=True)


def limit(train: Iterable[Entry], most: int | None, seed: int) -> list[Entry]:
    """No more than `most` photographs of each set, drawn by `seed`, if not None; phantoms have a number of their own.

    A smaller choice is part of a larger one.
    """
    sets: dict[str, list[Entry]] = {}
    for entry in train:
        sets.setdefault(entry.dataset, []).append(entry)
    chosen = []
    for name, entries in sets.items():
        if most is not None and name != "phantom":
            order = np.random.default_rng(seed).permutation(len(entries))
            entries = [entries[place] for place in sorted(order[:most])]
        chosen += entries
    return chosen


def hold_out(train: Iterable[Entry], share: float, seed: int) -> dict[str, list[Entry]]:
    """Training and validation entries: a `share` of the groups is for validation, none if it is 0."""
    train = list(train)
    if share == 0:
        return {"train": train, "validation": []}
    try:
        groups = datasets.split_groups((entry.group for entry in train), share, seed)
    except ValueError as error:
        raise ValueError(f"data.validation: {error}") from error
    return {
        "train": [entry for entry in train if entry.group not in groups],
        "validation": [entry for entry in train if entry.group in groups],
    }


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _write_eye(root: Path, dataset: str, load: Callable[[], samples.Eye]) -> None:
    samples.write_eye(root, dataset, load())


def _load_phantom(id_: str, seed: int, number: int, height: int, width: int) -> samples.Eye:
    drawn = phantom.draw(seed, number, height, width)
    return samples.Eye(id_, f"phantom-{id_}", drawn.image, drawn.truth, drawn.fov, None)


def _own_entry(photograph: folder.Photograph) -> Entry:
    image = Verified(File(photograph.image), None)
    return Entry("folder", *photograph[:2], partial(_load_own, photograph), partial(_pixels, image, {}))


def _public_entry(name: str, record: Record, found: Mapping[str, File], listed: Mapping[str, str]) -> Entry:
    verified = [None if place is None else Verified(found[place], listed.get(place)) for place in record[2:]]
    load = partial(_load_files, *record[:2], verified, listed, False)
    return Entry(name, *record[:2], load, partial(_pixels, verified[0], listed))


def _pixels(image: Verified, listed: Mapping[str, str]) -> int:
    return decode.pixels(_verified_bytes(image, listed), str(image.file))


def _load_own(photograph: folder.Photograph) -> samples.Eye:
    verified = [None if path is None else Verified(File(path), None) for path in photograph[2:]]
    eye = _load_files(photograph.id, photograph.group, verified, {}, True)
    folder.refuse_inverted(photograph.truth, eye.truth, eye.fov)
    if eye.second_observer is not None:
        folder.refuse_inverted(photograph.second_observer, eye.second_observer, eye.fov)
    return eye


def _load_files(
    id_: str, group: str, verified: list[Verified | None], listed: Mapping[str, str], upright: bool
) -> samples.Eye:
    """The eye with image, truth, FOV and second observer as verified; the FOV is found where there is none."""
    image = decode.photograph(_verified_bytes(verified[0], listed), str(verified[0].file), upright)
    truth, field, second = (_drawing(file, listed, image, upright) for file in verified[1:])
    try:
        field = fov.find(image) if field is None else field
    except ValueError as error:
        raise ValueError(f"{verified[0].file}: {error}") from error
    if not field.any():
        raise ValueError(f"{verified[2].file}: expected a field of view, got an empty one")
    return samples.Eye(id_, group, image, truth, field, second)


def _drawing(file: Verified | None, listed: Mapping[str, str], image: np.ndarray, upright: bool) -> np.ndarray | None:
    """The (H, W) bool drawing in `file`, of the size of the image."""
    if file is None:
        return None
    drawing = decode.drawing(_verified_bytes(file, listed), str(file.file), upright)
    if drawing.shape != image.shape[:2]:
        expected, got = ("{}x{}".format(*array.shape) for array in (image, drawing))
        raise ValueError(f"{file.file}: expected {expected} like the image, got {got}")
    return drawing


def _verified_bytes(verified: Verified, listed: Mapping[str, str]) -> bytes:
    """The content of a file with the expected SHA-256; ValueError where it has another."""
    content = archives.read(verified.file)
    digest = hashlib.sha256(content).hexdigest()
    if verified.sha256 not in (None, digest):
        other = next((f", which is that of {place}" for place, known in listed.items() if known == digest), "")
        raise ValueError(
            f"{verified.file}: expected the official file (SHA-256 {verified.sha256}), got {len(content)} bytes "
            f"with SHA-256 {digest}{other}"
        )
    return content


def _search(dataset: DataSet, places: Iterable[str], directory: Path) -> dict[str, File]:
    """The official files found in the folders and archives of `directory` that have a name of the set."""
    if not directory.is_dir():
        return {}
    ends: dict[str, File] = {}
    for candidate in sorted(filter(partial(_is_named, dataset), directory.iterdir())):
        for place, file in sorted(archives.files(candidate), key=lambda pair: len(pair[0].parts)):
            parts = str(place).casefold().removesuffix(".gz").split("/")
            for count in range(1, min(len(parts), 3) + 1):
                ends.setdefault("/".join(parts[-count:]), file)
    return {place: ends[place.casefold()] for place in places if place.casefold() in ends}


def _is_named(dataset: DataSet, path: Path) -> bool:
    letters = "".join(filter(str.isalnum, archives.stem(path).lower()))
    return letters in dataset.names and (path.is_dir() or archives.is_archive(path))


def _missing(used: Iterable[Record], found: Mapping[str, File]) -> list[str]:
    return [file for record in used for file in record.files() if file not in found]


def _to_fetch(dataset: DataSet, kept: Path) -> list[Download]:
    """The archives of the official source that are not in `kept`."""
    return [download for download in dataset.downloads if not (kept / download.file).exists()]


def _refuse_missing(dataset: DataSet, used: Iterable[Record], found: Mapping[str, File], place: Path) -> None:
    missing = _missing(used, found)
    if not missing:
        return
    more = f" and {len(missing) - 1} more files" if len(missing) > 1 else ""
    reason = f"{place}: expected {missing[0]}{more} of {dataset.name}, missing"
    if dataset.name == "drive" and all(file.startswith(TEST_TRUTH) for file in missing):
        reason += f"; {NO_TEST_TRUTH}"
    raise FileNotFoundError(reason)


def _refuse_unknown(dataset: DataSet, listed: Mapping[str, str]) -> None:
    """ValueError where a file of the set has neither an official hash nor leave to go without."""
    for file in (file for record in dataset.records for file in record.files()):
        if file not in listed and file not in dataset.unlisted:
            manifest = datasets.MANIFESTS / f"{dataset.name}.sha256"
            raise ValueError(f"{manifest}: expected the SHA-256 of {file}, found none")


def _fetch(dataset: DataSet, kept: Path, searched: list[Path]) -> None:
    """Download the archives of a set to `kept`.

    Raises:
        FileNotFoundError: the network or the source is to blame; the sentence says the way out.
        OSError: `kept` cannot be written (no space, no permission).
    """
    absent = f"{dataset.name}: not found in {' or '.join(map(str, searched))}"
    if not dataset.downloads:
        raise FileNotFoundError(f"{absent}; {dataset.by_hand}, and put it into {kept}; {TRY_PHANTOM}")
    for download in _to_fetch(dataset, kept):
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
    """Download one archive, whole or not at all, with a progress bar.

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
    """ValueError, and the file is deleted, where it is no archive (a log-in page, say)."""
    try:
        archives.files(path)
    except ValueError:
        path.unlink()
        raise
