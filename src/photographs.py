"""Which files a person means by files, folders and patterns, and a name for the results of each that no other has."""

import glob
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".pgm", ".pnm", ".ppm", ".tif", ".tiff")
DIGITS = 8  # of the hash that parts equal names


def find(given: Iterable[str], out: Path) -> list[Path]:
    """The files meant, resolved, each once, sorted: a file, all pictures below a folder (see SUFFIXES), or a pattern.

    In a pattern, `**` stands for any folders. Nothing below the folder of results `out` is among them.

    Raises:
        FileNotFoundError: one of `given` stands for no file.
    """
    found, results = set(), out.resolve()
    for each in given:
        files = {path.resolve() for path in _meant(each)}
        files = {path for path in files if not path.is_relative_to(results)}
        if not files:
            kinds = ", ".join(SUFFIXES)
            raise FileNotFoundError(
                f"{each}: expected a file, a folder with pictures ({kinds}) or a pattern, found none"
            )
        found |= files
    return sorted(found)


def _meant(given: str) -> list[Path]:
    path = Path(given)
    if path.is_dir():
        every = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
        return [file for file in every if file.suffix.lower() in SUFFIXES]
    if path.is_file():
        return [path]
    return [file for file in map(Path, glob.glob(given, recursive=True)) if not file.is_dir()]


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
