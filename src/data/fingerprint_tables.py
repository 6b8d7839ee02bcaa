"""Fingerprints of custom data sets: tables of the SHA-256 of their files, by which DVC notices a change."""

from collections.abc import Collection
from pathlib import Path

from src.common import atomic_io
from src.common.hashing import sha256
from src.data.image_files import is_leftover

COLUMNS = ("file", "sha256")
SUFFIX = ".csv"


def write(table: Path, folder: Path) -> None:
    """Write the SHA-256 of each file below `folder`, by its place in it; files that systems leave behind are ignored.

    Raises:
        FileNotFoundError: there is no such folder.
        ValueError: the name of a file is no text, or holds a line end or the like.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a folder (data.custom.{table.stem}), found none")
    files = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    kept = sorted((place.as_posix(), path) for place, path in files.items() if not any(map(is_leftover, place.parts)))
    for place, _ in kept:
        if not place.isprintable():
            raise ValueError(f"{folder}: expected file names of printable characters, got {place!r}")
    atomic_io.write_rows(table, [COLUMNS, *((place, sha256(path)) for place, path in kept)])


def remove_undefined(folder: Path, names: Collection[str]) -> None:
    """Delete the tables in `folder` of data sets that are not among `names`: DVC forgets outputs of former stages."""
    for table in folder.glob(f"*{SUFFIX}"):
        if table.stem not in names:
            table.unlink()
