"""Input files of a prediction: the images named by files, folders and patterns, and a unique id for each."""

import glob
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, NoReturn

from src.data import image_opening
from src.data.image_files import is_leftover
from src.data.image_opening import SUFFIXES

HASH_DIGITS = 8  # of the hash that tells files of equal names apart
MAX_STEM_BYTES = 150  # systems allow 255 of a name; `_HASH_probability.png.part` needs 30
NAMED = 3  # other files that a message names


class InputFiles(NamedTuple):
    """What an input names.

    Attributes:
        images: resolved paths, each once, sorted.
        other: the other files in folders.
        hidden: hidden files and folders, and leftovers of systems, which are not looked into.
    """

    images: list[Path]
    other: Sequence[Path] = ()
    hidden: Sequence[Path] = ()

    def messages(self) -> list[str]:
        """Say what was not read; nothing for most folders."""
        named = ", ".join([*map(str, self.other[:NAMED]), *(["..."] if len(self.other) > NAMED else [])])
        other = [f"not read: {self.other_kinds()}: {named}"] if self.other else []
        hidden = [f"{len(self.hidden)} hidden or system files and folders are left out"] if self.hidden else []
        return other + hidden

    def other_kinds(self) -> str:
        """Return number and kinds of the other files: `3 other files (2 .txt, 1 no suffix)`."""
        other = Counter(file.suffix.lower() or "no suffix" for file in self.other)
        kinds = ", ".join(f"{number} {kind}" for kind, number in other.most_common())
        return f"{other.total()} other file{'s' * (other.total() > 1)} ({kinds})"


def find_images(inputs: Iterable[str], out: Path) -> InputFiles:
    """Find the input files.

    An input is a file, a folder (all images below it: by SUFFIXES, and by content where there is no suffix), or a
    pattern that matches files and folders, with `**` for any folders. `~` is the home folder. Links to folders are
    followed. Files in the output folder `out` are left out.

    Raises:
        FileNotFoundError: an input matches no file.
        ValueError: all files that an input matches are in the output folder.
        OSError: a folder cannot be read.
    """
    found: set[Path] = set()
    other: dict[Path, Path] = {}  # as spelled, by resolved path; likewise the next
    hidden: dict[Path, Path] = {}
    outputs = _resolve(out)
    for each in inputs:
        paths = _match(each)
        if paths and all(_resolve(path) == outputs for path in paths):
            continue
        listings = [_list(path, outputs) for path in paths]
        matched = {path for listing in listings for path in map(_resolve, listing.images)}
        others = {_resolve(path): path for listing in listings for path in listing.other}
        files = {path for path in matched if not path.is_relative_to(outputs)}
        if not matched:
            got = InputFiles([], list(others.values())).other_kinds() if others else "none"
            kinds = ", ".join(SUFFIXES)
            raise FileNotFoundError(
                f"{each}: expected a file, a folder with images ({kinds}) or a pattern, found {got}"
            )
        if not files:
            raise ValueError(f"{each}: expected images outside the output folder, {out}")
        found |= files
        other |= others
        hidden |= {_resolve(path): path for listing in listings for path in listing.hidden}
    if not found:
        raise ValueError(f"{out}: expected images outside the output folder")
    unread = sorted(path for real, path in other.items() if real not in found)
    return InputFiles(sorted(found), unread, sorted(hidden.values()))


def _match(given: str) -> list[Path]:
    """Return the path, or what matches the pattern; leftovers only where the pattern names them."""
    given = given if os.path.lexists(given) else os.path.expanduser(given)
    if os.path.lexists(given):
        return [Path(given)]
    named = set(Path(given).parts)
    matched = [Path(path) for path in glob.glob(given, recursive=True)]
    return [path for path in matched if not any(is_leftover(part) for part in path.parts if part not in named)]


def _resolve(path: Path) -> Path:
    """Resolve links; unlike `Path.resolve`, also a link to itself, which is rejected when it is read."""
    return Path(os.path.realpath(path))


def _list(path: Path, outputs: Path) -> InputFiles:
    """List the file itself, or what is in a folder and below it, each folder once however links lead to it."""
    if not path.is_dir():
        return InputFiles([path])
    images: list[Path] = []
    other: list[Path] = []
    hidden: list[Path] = []
    entered = {os.path.realpath(path)}
    for folder, subfolders, names in os.walk(path, onerror=_raise, followlinks=True):
        files = [Path(folder) / name for name in names if not is_leftover(name)]
        images += filter(_is_image, files)
        if not _resolve(Path(folder)).is_relative_to(outputs):  # what is written there is not said to be left out
            hidden += [Path(folder, name) for name in (*names, *subfolders) if is_leftover(name)]
            other += itertools.filterfalse(_is_image, files)
        new = {name: os.path.realpath(Path(folder) / name) for name in sorted(subfolders) if not is_leftover(name)}
        subfolders[:] = [name for name, real in new.items() if real not in entered]
        entered.update(new.values())
    return InputFiles(images, other, hidden)


def _is_image(file: Path) -> bool:
    """Return whether a file is taken for an image: by its suffix, or its first bytes where it has none."""
    if file.name.lower().endswith(SUFFIXES):
        return True
    if file.suffix and not file.suffix[1:].isdecimal():  # DICOM files are named by numbers with dots
        return False
    try:
        with file.open("rb") as stream:
            return image_opening.has_signature(stream.read(image_opening.SIGNATURE_BYTES))
    except OSError:
        return False


def _raise(error: OSError) -> NoReturn:
    raise error


def assign_ids(files: Iterable[Path], assigned: Mapping[str, str]) -> dict[Path, str]:
    """Assign a unique id to each file: the one `assigned` to its path before, else its stem.

    Files of equal stems, in several folders or with several suffixes, get a hash of their paths as a suffix. Stems that
    differ in case alone count as equal, as on some file systems. A stem of more than MAX_STEM_BYTES is cut, as names of
    maps are longer, and gets a hash, too.
    """
    files = list(files)
    new = [file for file in files if str(file) not in assigned]
    number = Counter(file.stem.lower() for file in new) + Counter(id_.lower() for id_ in assigned.values())
    ids = {}
    for file in new:
        stem = os.fsencode(file.stem)[:MAX_STEM_BYTES].decode(errors="ignore")  # cut between two characters
        unique = number[file.stem.lower()] == 1 and len(os.fsencode(file.stem)) <= MAX_STEM_BYTES
        ids[file] = file.stem if unique else f"{stem}_{path_hash(file, HASH_DIGITS)}"
    return {file: ids[file] if file in ids else assigned[str(file)] for file in files}


def path_hash(file: Path, digits: int) -> str:
    """Return the first hexadecimal digits of a hash of the file's path."""
    return hashlib.sha256(str(file).encode(errors="surrogateescape")).hexdigest()[:digits]
