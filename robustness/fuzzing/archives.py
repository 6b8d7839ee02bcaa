"""Fuzzing of tar and zip files: links, places outside, damage, bombs."""

import bz2
import functools
import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from robustness.fuzzing.reader import Reader, expect
from robustness.fuzzing.strategies import damage, edits

HOSTILE_NAMES = (
    *("a.png", "f/b.png", "../c", "/d", "..\\e", "C:/g", "é.png", "a" * 300, "x\ny", "f/../../h", "./i", "aux"),
)


LOWERED_LIMITS = {"MAX_FILE_BYTES": 2**22, "MAX_ARCHIVE_BYTES": 2**25, "MAX_MEMBERS": 200}  # of archives


def _tar_bytes(members: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, data in members:
            info.size = len(data) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _header(name: str, **fields: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for field, value in fields.items():
        setattr(info, field, value)
    return info


def _negative_size() -> bytes:
    header = bytearray(_header("n").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = struct.pack(">iq", -1, -512)  # leads back to where it was
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header)


@functools.cache
def tar_bombs() -> tuple[bytes, ...]:
    """Build hostile tar files: huge names, sizes and numbers of members, endless loops, sparse files, a bomb."""
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
    long_names = (tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)
    return (
        *(_header("././@LongLink", type=kind, size=300 * 2**20).tobuf() + bytes(2**20) for kind in long_names),
        _header("m").tobuf() * 300 + bytes(1024),
        _negative_size() + bytes(1024),
        *(_header("o", size=size).tobuf(tarfile.GNU_FORMAT) + bytes(1024) for size in (2**33, 2**40, 2**60)),
        _tar_bytes([(_header("p", pax_headers=sparse), b"9999999999\n" * 40)], tarfile.PAX_FORMAT),
        _tar_bytes([(_header("q"), bytes(2**26))], tarfile.PAX_FORMAT),
    )


_tar_members = st.lists(
    st.tuples(
        st.sampled_from(HOSTILE_NAMES),
        st.sampled_from([tarfile.REGTYPE] * 6 + [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE]),
        st.binary(max_size=500),
    ).map(lambda member: (_header(member[0], type=member[1], linkname="/etc/passwd"), member[2])),
    min_size=1,
    max_size=4,
)


_tars = st.tuples(_tar_members, st.sampled_from((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))).map(
    lambda of: _tar_bytes(*of)
)


PACKERS: tuple[Callable[[bytes], bytes], ...] = (bytes, gzip.compress, bz2.compress)


@st.composite
def tar_files(draw: st.DrawFn) -> bytes:
    """Generate a tar, compressed or not, damaged before and after compression or not, or a bomb."""
    content = draw(st.one_of(_tars, _tars, st.deferred(lambda: st.sampled_from(tar_bombs()))))
    if len(content) < 2**20:
        content = damage(content, draw(edits))
    content = draw(st.sampled_from(PACKERS))(content)
    return damage(content, draw(edits))


def _zip_bytes(members: list[tuple[str, bytes, bool]], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, data, is_link in members:
            info = zipfile.ZipInfo(name)
            info.external_attr = 0o120777 << 16 if is_link else 0
            archive.writestr(info, data, compression)
    return stream.getvalue()


@functools.cache
def zip_bombs() -> tuple[bytes, ...]:
    """Build hostile zip files: a bomb, many members, sizes in the table that are wrong."""
    plain = bytearray(_zip_bytes([("a.png", b"0123456789", False)], zipfile.ZIP_DEFLATED))
    at, found = plain.rfind(b"PK\x01\x02"), []
    for packed, unpacked in ((0, 2**31), (2**31, 0), (1, 2**32 - 2), (10, 10)):
        plain[at + 20 : at + 28] = struct.pack("<II", packed, unpacked)
        found.append(bytes(plain))
    many = [(str(number), b"", False) for number in range(300)]
    bomb = [("a.png", bytes(6 * 2**20), False)]
    return (*found, _zip_bytes(many, zipfile.ZIP_STORED), _zip_bytes(bomb, zipfile.ZIP_DEFLATED))


@st.composite
def zip_files(draw: st.DrawFn) -> bytes:
    """Generate a zip, damaged or not, or a bomb."""
    member = st.tuples(st.sampled_from(HOSTILE_NAMES), st.binary(max_size=500), st.sampled_from([False] * 9 + [True]))
    kinds = st.sampled_from((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    names = st.lists(member, min_size=1, max_size=4, unique_by=lambda of: of[0])
    content = draw(
        st.one_of(*[st.tuples(names, kinds).map(lambda of: _zip_bytes(*of))] * 3, st.sampled_from(zip_bombs()))
    )
    return damage(content, draw(edits))


def read_archive(name: str, content: bytes, folder: Path) -> None:
    """List an archive and read its first files."""
    from src.data import archives

    for limit, value in LOWERED_LIMITS.items():
        expect(getattr(archives, limit) >= value, limit)
        setattr(archives, limit, value)
    path = folder / name
    path.write_bytes(content)
    for _, file in archives.list_files(path)[:3]:
        expect(len(archives.read_file(file)) <= archives.MAX_FILE_BYTES, "a file above the limit")


READERS = {
    "tar": Reader(tar_files(), functools.partial(read_archive, "a.tar.gz"), ("a.tar.gz",), cost=2),
    "zip": Reader(zip_files(), functools.partial(read_archive, "a.zip"), ("a.zip",), cost=2),
}
