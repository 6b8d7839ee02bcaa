"""Files below a folder, in zip and tar archives too, read one at a time and never unpacked to disk."""

import bz2
import contextlib
import errno
import gzip
import io
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
LARGEST_FILE = 512 * 2**20  # bytes, unpacked; the largest of the public sets is below 30 MB
LARGEST_ARCHIVE = 4 * 2**30  # bytes, all members unpacked; HRF has less than 1 GB
MOST_MEMBERS = 20_000  # the public sets have some hundred
MOST_HEADERS = 2048 * MOST_MEMBERS  # bytes that describe the members of an archive: names, sizes, dates
COMPRESSED = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}  # by the first bytes; xz may ask for 4 GiB of memory
BROKEN = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    RuntimeError,  # zipfile: encrypted
    NotImplementedError,  # zipfile: unknown compression
    UnicodeError,  # zipfile: names
    struct.error,
    KeyError,  # zipfile, tarfile: no such member after all
    OverflowError,
    MemoryError,
)


class File(NamedTuple):
    """A file on disk, or the member of an archive on disk."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        """Where the file is, for error messages, which are of one line."""
        if self.member is None:
            return str(self.path)
        return f"{self.path}/{self.member if self.member.isprintable() else repr(self.member)}"


class Member(NamedTuple):
    """What the table of an archive says of one of its files or folders."""

    name: str
    size: int
    is_folder: bool


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
        ValueError: an archive is broken, too large, of too many members, or has one that is a link or would land
            outside.
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
    with _broken_named(file, "a whole file", ""):
        content = _read_file(file.path) if file.member is None else _read_member(file.path, file.member)
        if (file.member or file.path.name).lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                content = stream.read(LARGEST_FILE + 1)
    if len(content) > LARGEST_FILE:
        raise ValueError(f"{file}: expected at most {LARGEST_FILE} bytes, got more")
    return content


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(LARGEST_FILE + 1)


def _read_member(path: Path, name: str) -> bytes:
    if _is_zip(path):
        with zipfile.ZipFile(path) as archive, archive.open(name) as stream:
            return stream.read(LARGEST_FILE + 1)
    with _tar_stream(path) as stream, tarfile.open(fileobj=stream, mode="r:") as archive:
        member = archive.extractfile(name)
        if member is None:
            raise tarfile.ReadError(f"two members {name!r}, of which the last is no file")
        return member.read(LARGEST_FILE + 1)


@contextlib.contextmanager
def _broken_named(name: object, expected: str, advice: str) -> Iterator[None]:
    """Turn what the libraries raise over broken archives into a ValueError that names the file."""
    try:
        yield
    except (*BROKEN, ValueError, OSError) as error:
        if str(error).startswith(f"{name}: "):  # said already
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, not of bz2 or a seek
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{name}: expected {expected}, got a broken one ({reason}){advice}") from error


def _members(path: Path) -> list[Member]:
    """The files of an archive, refused where unsafe."""
    total, found = 0, []
    with _broken_named(path, "a whole zip or tar archive", "; delete it and fetch it again"):
        for count, member in enumerate(_zip_members(path) if _is_zip(path) else _tar_members(path), 1):
            _refuse_outside(path, member.name)
            if count > MOST_MEMBERS:
                raise ValueError(f"{path}: expected at most {MOST_MEMBERS} members, got more")
            total += member.size
            if total > LARGEST_ARCHIVE:
                raise ValueError(f"{path}: expected at most {LARGEST_ARCHIVE} bytes unpacked, got more")
            found.append(member)
    return [member for member in found if not member.is_folder]


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:  # whose table is no larger than the file itself
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{path}: expected files and folders only, got the link {info.filename!r}")
            yield Member(info.filename, info.file_size, info.is_dir())


def _tar_members(path: Path) -> Iterator[Member]:
    with _tar_stream(path) as stream, tarfile.open(fileobj=_Headers(stream, path), mode="r:") as archive:
        for info in archive:
            if not (info.isfile() or info.isdir()) or info.issparse():
                raise ValueError(f"{path}: expected files and folders only, got the link or device {info.name!r}")
            if info.size < 0:  # tarfile would go back to where it was, for ever (CVE-2025-8194)
                raise tarfile.ReadError(f"a member of {info.size} bytes")
            yield Member(info.name, info.size, info.isdir())


def _tar_stream(path: Path) -> BinaryIO:
    """The tar itself, unpacked as it is read where its first bytes are those of a compressed file."""
    with path.open("rb") as file:
        begin = file.read(max(map(len, COMPRESSED)))
    opener = next((opener for magic, opener in COMPRESSED.items() if begin.startswith(magic)), open)
    return opener(path, "rb")


class _Headers:
    """A tar as it is listed: its headers are read, what lies between is skipped.

    A few compressed megabytes can hold names, or maps of sparse files, that fill the memory.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path, self._left = stream, path, MOST_HEADERS
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        self._left -= size
        if size < 0 or self._left < 0:
            raise ValueError(f"{self._path}: expected at most {MOST_HEADERS} bytes of names and sizes, got more")
        return self._stream.read(size)


def _refuse_outside(path: Path, name: str) -> None:
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in name.partition("/")[0]:
        raise ValueError(f"{path}: expected members inside the archive's folder, got {name!r}, which lies outside")
