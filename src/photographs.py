"""Which files a person means by files, folders and patterns, and a name for the results of each that no other has."""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NoReturn

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")
DIGITS = 8  # of the hash that parts equal names


def find(given: Iterable[str], out: Path) -> list[Path]:
    """The files meant, resolved, each once, sorted: a file, all pictures below a folder (see SUFFIXES), or a pattern.

    A pattern stands for the files and folders that it matches, and `**` in it for any folders. Links to folders are
    followed. What lies in the folder of results `out` is left out.

    Raises:
        FileNotFoundError: one of `given` stands for no file.
        ValueError: the photographs that one of `given` stands for lie in the folder of results.
        OSError: a folder cannot be read.
    """
    found, results = set(), _resolved(out)
    for each in given:
        paths = [Path(each)] if os.path.lexists(each) else [Path(path) for path in glob.glob(each, recursive=True)]
        if paths and all(_resolved(path) == results for path in paths):
            continue
        meant = set(map(_resolved, chain.from_iterable(map(_meant, paths))))
        files = {path for path in meant if not path.is_relative_to(results)}
        if not meant:
            kinds = ", ".join(SUFFIXES)
            raise FileNotFoundError(
                f"{each}: expected a file, a folder with pictures ({kinds}) or a pattern, found none"
            )
        if not files:
            raise ValueError(f"{each}: expected photographs that do not lie in the folder of results, {out}")
        found |= files
    if not found:
        raise ValueError(f"{out}: expected photographs that do not lie in the folder of results")
    return sorted(found)


def _resolved(path: Path) -> Path:
    """Where a path leads; other than `Path.resolve`, also a link to itself, which is refused when it is read."""
    return Path(os.path.realpath(path))


def _meant(path: Path) -> Iterator[Path]:
    """The file itself, or the pictures in a folder and below it, each folder once however links lead to it."""
    if not path.is_dir():
        yield path
        return
    entered = {os.path.realpath(path)}
    for folder, below, names in os.walk(path, onerror=_refuse, followlinks=True):
        yield from (Path(folder) / name for name in names if Path(name).suffix.lower() in SUFFIXES)
        new = {name: os.path.realpath(Path(folder) / name) for name in sorted(below)}
        below[:] = [name for name, real in new.items() if real not in entered]
        entered.update(new.values())


def _refuse(error: OSError) -> NoReturn:
    raise error


def named(files: Iterable[Path], taken: Mapping[str, str]) -> dict[Path, str]:
    """A name for each file: the one that it has in `taken`, by path; else its stem, where no other file has that.

    Files of one stem, in several folders or with several suffixes, are told apart by a hash of their paths. Names that
    differ in upper and lower case alone count as equal, as some disks hold them so.
    """
    new = [file for file in files if str(file) not in taken]
    number = Counter(file.stem.lower() for file in new) + Counter(name.lower() for name in taken.values())
    names = {
        file: file.stem if number[file.stem.lower()] == 1 else f"{file.stem}_{digits(file, DIGITS)}" for file in new
    }
    return {file: names[file] if file in names else taken[str(file)] for file in files}


def digits(file: Path, number: int) -> str:
    """The first hexadecimal digits of a hash of the file's path."""
    return hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:number]
