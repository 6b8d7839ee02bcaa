"""Files below a folder, in zip and tar archives too, read one at a time and never unpacked to disk."""

import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
LARGEST_FILE = 512 * 2**20  # bytes, unpacked; the largest of the public sets is below 30 MB
LARGEST_ARCHIVE = 8 * 2**30  # bytes, all members unpacked
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: unknown compression
)


class File(NamedTuple):
    """A file on disk, or the member of an archive on disk."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        """Where the file is, for error messages."""
        return str(self.path) if self.member is None else f"{self.path}/{self.member}"


class Member(NamedTuple):
    """What the table of an archive says of one of its files."""

    name: str
    size: int


def stem(path: Path) -> str:
    """The name without the suffix of an archive.

    >>> stem(Path("a/labels-ah.tar.gz"))
    'labels-ah'
    """
    found = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[: -len(max(found, key=len))] if found else path.name


def is_archive(path: Path) -> bool:
    """Whether the name is that of a zip or tar archive."""
    return path.name.lower().endswith(SUFFIXES)


def files(path: Path) -> list[tuple[PurePosixPath, File]]:
    """All files of a folder (and of the archives in it) or an archive, each with its place below `path`'s own name.

    Raises:
        ValueError: an archive is broken, too large, or has a member that is a link or would land outside.
    """
    if path.is_dir():
        top = PurePosixPath(path.name)
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        plain = [(top / p.relative_to(path).as_posix(), File(p)) for p in inside if not is_archive(p)]
        packed = [(top / place, file) for p in inside if is_archive(p) for place, file in files(p)]
        return plain + packed
    top = PurePosixPath(stem(path))
    return [(top / member.name, File(path, member.name)) for member in _members(path)]


def read(file: File) -> bytes:
    """The content of a file; that of a `.gz` file is unpacked.

    Raises:
        ValueError: broken, or larger than `LARGEST_FILE` when unpacked.
    """
    try:
        content = file.path.read_bytes() if file.member is None else _read_member(file.path, file.member)
        if (file.member or file.path.name).lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                content = stream.read(LARGEST_FILE + 1)
    except BROKEN as error:
        raise ValueError(f"{file}: expected a whole file, got a broken one ({error})") from error
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{file}: expected at most {LARGEST_FILE} bytes, got more")
    return content


def _read_member(path: Path, name: str) -> bytes:
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            return stream.read(LARGEST_FILE + 1)
    with tarfile.open(path) as archive:
        return archive.extractfile(name).read(LARGEST_FILE + 1)


def _members(path: Path) -> list[Member]:
    """The files of an archive, refused where unsafe."""
    total, found = 0, []
    try:
        for member in _zip_members(path) if _is_zip(path) else _tar_members(path):
            _refuse_outside(path, member.name)
            total += member.size
            if total > LARGEST_ARCHIVE:
                raise ValueError(f"{path}: expected at most {LARGEST_ARCHIVE} bytes unpacked, got more")
            found.append(member)
    except BROKEN as error:
        reason = f"got a broken one ({error}); delete it and fetch it again"
        raise ValueError(f"{path}: expected a whole zip or tar archive, {reason}") from error
    return found


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{path}: expected files and folders only, got the link {info.filename!r}")
            if info.is_dir():
                _refuse_outside(path, info.filename)
            else:
                yield Member(info.filename, info.file_size)


def _tar_members(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            if not (info.isfile() or info.isdir()):
                raise ValueError(f"{path}: expected files and folders only, got the link or device {info.name!r}")
            if info.isdir():
                _refuse_outside(path, info.name)
            else:
                yield Member(info.name, info.size)


def _refuse_outside(path: Path, name: str) -> None:
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in name.partition("/")[0]:
        raise ValueError(f"{path}: expected members inside the archive's folder, got {name!r}, which lies outside")
