"""List and read the files of folders and of zip and tar archives, one at a time, without unpacking to disk."""

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
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO, NamedTuple, cast

from src.data.image_files import is_leftover

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2")
MAX_FILE_BYTES = 512 * 2**20  # decompressed; the largest of the public data sets is below 30 MB
MAX_ARCHIVE_BYTES = 4 * 2**30  # all members, decompressed; HRF has less than 1 GB
MAX_MEMBERS = 20_000  # the public data sets have some hundred
MAX_HEADER_BYTES = 2048 * MAX_MEMBERS  # of names, sizes and dates of the members of an archive
# By the first bytes of the file. xz is not supported: it may ask for 4 GiB of memory.
OPENERS: dict[bytes, Callable[[Path, str], object]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open}
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


class StoredFile(NamedTuple):
    """A file on disk, or a member of an archive on disk."""

    path: Path
    member: str | None = None

    def __str__(self) -> str:
        """Location of the file for error messages, in one line."""
        if self.member is None:
            return str(self.path)
        return f"{self.path}/{self.member if self.member.isprintable() else repr(self.member)}"


class Member(NamedTuple):
    """Header of an archive's file or folder."""

    name: str
    size: int
    is_folder: bool


def stem(path: Path) -> str:
    """Name of an archive without its suffix.

    >>> stem(Path("a/labels-ah.tar.gz"))
    'labels-ah'
    """
    found = [suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)]
    return path.name[: -len(max(found, key=len))] if found else path.name


def is_archive(path: Path) -> bool:
    """Return whether the name is that of a zip or tar archive."""
    return path.name.lower().endswith(SUFFIXES)


def list_files(path: Path) -> list[tuple[PurePosixPath, StoredFile]]:
    """List all files of a folder (and of the archives in it) or an archive, each with its place below `path`'s name.

    Raises:
        ValueError: an archive is broken, exceeds a limit, or has a member that is a link or lies outside.
    """
    if path.is_dir():
        top = PurePosixPath(path.name)
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not is_leftover(p.name))
        plain = [(top / p.relative_to(path).as_posix(), StoredFile(p)) for p in inside if not is_archive(p)]
        archived = [(top / place, file) for p in inside if is_archive(p) for place, file in list_files(p)]
        return plain + archived
    top = PurePosixPath(stem(path))
    return [(top / member.name, StoredFile(path, member.name)) for member in _checked_members(path)]


def read_file(file: StoredFile) -> bytes:
    """Read a file; one that ends in `.gz` is decompressed.

    Raises:
        ValueError: broken, or larger than `MAX_FILE_BYTES` when decompressed.
    """
    with _error_for_broken(file, "a whole file"):
        content = _read_plain(file.path) if file.member is None else _read_member(file.path, file.member)
        if (file.member or file.path.name).lower().endswith(".gz"):
            with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
                content = stream.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"{file}: expected at most {MAX_FILE_BYTES} bytes, got more")
    return content


def _read_plain(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


def _read_member(path: Path, name: str) -> bytes:
    if _is_zip(path):
        with zipfile.ZipFile(path) as zip_file, zip_file.open(name) as content:
            return content.read(MAX_FILE_BYTES + 1)
    with _open_tar(path) as stream, tarfile.open(fileobj=stream, mode="r:") as tar_file:
        member = tar_file.extractfile(name)
        if member is None:
            raise tarfile.ReadError(f"two members {name!r}, of which the last is no file")
        return member.read(MAX_FILE_BYTES + 1)


@contextlib.contextmanager
def _error_for_broken(name: object, expected: str, advice: str = "") -> Iterator[None]:
    """Turn what the libraries raise over broken archives into a ValueError that begins with `name`."""
    try:
        yield
    except (*BROKEN, ValueError, OSError) as error:
        if str(error).startswith(f"{name}: "):  # said already
            raise
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):  # of the disk, not of bz2 or a seek
            raise
        reason = str(error) or type(error).__name__
        raise ValueError(f"{name}: expected {expected}, got a broken one ({reason}){advice}") from error


def _checked_members(path: Path) -> list[Member]:
    """List the files of an archive, checked against the limits."""
    total, found = 0, []
    with _error_for_broken(path, "a whole zip or tar archive", "; delete it and fetch it again"):
        for count, member in enumerate(_zip_members(path) if _is_zip(path) else _tar_members(path), 1):
            _check_inside(path, member.name)
            if count > MAX_MEMBERS:
                raise ValueError(f"{path}: expected at most {MAX_MEMBERS} members, got more")
            total += member.size
            if total > MAX_ARCHIVE_BYTES:
                raise ValueError(f"{path}: expected at most {MAX_ARCHIVE_BYTES} bytes unpacked, got more")
            found.append(member)
    return [member for member in found if not member.is_folder]


def _is_zip(path: Path) -> bool:
    return path.name.lower().endswith(".zip")


def _zip_members(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:  # whose table is no larger than the file itself
        for info in archive.infolist():
            if stat.S_ISLNK(info.external_attr >> 16):
                raise ValueError(f"{path}: expected files and folders only, got the link {info.filename!r}")
            yield Member(info.filename, info.file_size, info.filename.endswith("/"))  # is_dir fails without a name


def _tar_members(path: Path) -> Iterator[Member]:
    with _open_tar(path) as stream, tarfile.open(fileobj=_LimitedHeaders(stream, path), mode="r:") as archive:
        for info in archive:
            if not (info.isfile() or info.isdir()) or info.issparse():
                raise ValueError(f"{path}: expected files and folders only, got the link or device {info.name!r}")
            if info.size < 0:  # tarfile would go back to where it was, for ever (CVE-2025-8194)
                raise tarfile.ReadError(f"a member of {info.size} bytes")
            yield Member(info.name, info.size, info.isdir())


def _open_tar(path: Path) -> BinaryIO:
    """Open a tar for reading, decompressed on the fly where its first bytes are those of a compressed file."""
    with path.open("rb") as file:
        start = file.read(max(map(len, OPENERS)))
    opener = next((opener for magic, opener in OPENERS.items() if start.startswith(magic)), open)
    return cast(BinaryIO, opener(path, "rb"))


class _LimitedHeaders(io.BufferedIOBase):
    """A tar stream from which at most `MAX_HEADER_BYTES` are read: listing reads headers and skips the content.

    A few compressed megabytes can hold names, or maps of sparse files, that fill the memory.
    """

    def __init__(self, stream: BinaryIO, path: Path) -> None:
        self._stream, self._path, self._left = stream, path, MAX_HEADER_BYTES

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or size > self._left:
            raise ValueError(f"{self._path}: expected at most {MAX_HEADER_BYTES} bytes of names and sizes, got more")
        self._left -= size
        return self._stream.read(size)


def _check_inside(path: Path, name: str) -> None:
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in name.partition("/")[0]:
        raise ValueError(f"{path}: expected members inside the archive's folder, got {name!r}, which lies outside")
