import bz2
import contextlib
import gzip
import io
import lzma
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_file_builders import put_tar, put_zip

from src.data import archives

QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def tar_bytes(form: int = tarfile.PAX_FORMAT, **members: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(f"é/{name}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def zip_bytes(**members: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"é/{name}.png", content)
    return stream.getvalue()


@contextlib.contextmanager
def rejected_by_name(name: str):
    """Allow a ValueError whose message begins with the name; another error of a library is a failure."""
    try:
        yield
    except ValueError as error:
        if type(error) is not ValueError or not str(error).startswith(f"{name}"):
            raise AssertionError from error


def put(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


TWO = tar_bytes(a=b"one", b=b"two")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.tar", TWO),
        ("a.tar.gz", gzip.compress(TWO)),
        ("a.tar", gzip.compress(TWO)),  # the suffix is wrong
        ("a.tgz", tar_bytes(tarfile.GNU_FORMAT, a=b"one", b=b"two")),
        ("a.tar.bz2", bz2.compress(TWO)),
        ("a.zip", zip_bytes(a=b"one", b=b"two")),
    ],
)
def test_members_are_listed_and_read(tmp_path, name, content):
    found = archives.list_files(put(tmp_path / name, content))
    assert [(str(place), archives.read_file(file)) for place, file in found] == [
        ("a/é/a.png", b"one"),
        ("a/é/b.png", b"two"),
    ]


@pytest.mark.parametrize(("name", "make"), [("a.tar", tar_bytes), ("a.zip", zip_bytes)])
def test_too_many_members_are_rejected(tmp_path, monkeypatch, name, make):
    monkeypatch.setattr(archives, "MAX_MEMBERS", 2)
    path = put(tmp_path / name, make(a=b"", b=b"", c=b""))
    with pytest.raises(ValueError, match=rf"^{path}: expected at most 2 members, got more$"):
        archives.list_files(path)


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_header_that_would_fill_the_memory_is_not_read(tmp_path, kind):
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = kind, 2**40
    path = put(tmp_path / "a.tar.gz", gzip.compress(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**16)))
    with pytest.raises(ValueError, match=rf"^{path}: expected at most {archives.MAX_HEADER_BYTES} bytes of names"):
        archives.list_files(path)


@pytest.mark.timeout(20)
def test_negative_size_is_no_endless_loop(tmp_path):
    header = bytearray(tarfile.TarInfo("a").tobuf(tarfile.GNU_FORMAT))
    header[124:136] = struct.pack(">iq", -1, -512)
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    path = put(tmp_path / "a.tar", bytes(header) + bytes(1024))
    with pytest.raises(ValueError, match=rf"^{path}: expected a whole zip or tar archive"):
        archives.list_files(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"1\n0\n9999999999\n", "files and folders only"), (b"", "a whole zip or tar archive, got a broken")],
)
def test_sparse_member_is_rejected_with_a_complete_or_broken_map(tmp_path, content, message):
    info = tarfile.TarInfo("a")
    info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "9999999999"}
    info.size = 512
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        archive.addfile(info, io.BytesIO(content.ljust(512, b"\0")))
    path = put(tmp_path / "a.tar", stream.getvalue())
    with pytest.raises(ValueError, match=rf"^{path}: expected {message}"):
        archives.list_files(path)


def test_offset_before_the_archive_is_an_error_with_its_name(tmp_path):
    content = bytearray(zip_bytes(a=b"x"))
    end = content.rfind(b"PK\x05\x06")
    content[end + 16 : end + 20] = struct.pack("<I", 2**31)  # where the table begins
    path = put(tmp_path / "a.zip", bytes(content))
    with pytest.raises(ValueError, match=rf"^{path}.*: expected a whole .*, got a broken one"):
        archives.read_file(archives.list_files(path)[0][1])


def test_file_and_folder_of_one_name_are_rejected(tmp_path):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for kind in (tarfile.REGTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("a")
            info.type = kind
            archive.addfile(info)
    path = put(tmp_path / "a.tar", stream.getvalue())
    with pytest.raises(ValueError, match=rf"^{path}/a: expected a whole file, got a broken one"):
        archives.read_file(archives.list_files(path)[0][1])


PACK = {"a.tar.gz": gzip.compress, "a.tar.bz2": bz2.compress}


@pytest.mark.parametrize("name", PACK)
def test_members_are_read_in_any_order(tmp_path, name):
    members = {f"m{n}": bytes([n]) * 70_000 for n in range(3)}
    found = archives.list_files(put(tmp_path / name, PACK[name](tar_bytes(**members))))
    assert [archives.read_file(file)[:1] for _, file in reversed(found)] == [b"\x02", b"\x01", b"\x00"]


@pytest.mark.parametrize("name", PACK)
def test_bomb_is_rejected_at_the_limit_and_takes_little_memory(tmp_path, monkeypatch, name):
    path = put(tmp_path / name, PACK[name](tar_bytes(a=bytes(2**26))))
    assert path.stat().st_size < 2**18
    ((_, file),) = archives.list_files(path)
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 2**20)
    tracemalloc.start()
    with pytest.raises(ValueError, match=rf"^{path}/é/a.png: expected at most {2**20} bytes, got more$"):
        archives.read_file(file)
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 2**25)
    with pytest.raises(ValueError, match=rf"^{path}: expected at most {2**25} bytes unpacked, got more$"):
        archives.list_files(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**25  # half of the unpacked size


@pytest.mark.parametrize("error", [MemoryError(), EOFError("end"), lzma.LZMAError("bad"), zlib.error("bad")])
def test_error_of_a_decompressor_is_a_message_with_its_reason(tmp_path, monkeypatch, error):
    def broken(path: Path, mode: str) -> None:
        raise error

    monkeypatch.setitem(archives.OPENERS, b"BZh", broken)
    path = put(tmp_path / "a.tar.bz2", bz2.compress(b""))
    with pytest.raises(
        ValueError, match=rf"^{path}: expected a whole zip or .*, got a broken one \((MemoryError|end|bad)\)"
    ):
        archives.list_files(path)


def test_name_with_a_line_end_is_shown_in_one_line():
    assert str(archives.StoredFile(Path("a.zip"), "x\ny")) == r"a.zip/'x\ny'"


def test_large_file_on_disk_is_rejected_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no space
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    with pytest.raises(ValueError, match=rf"^{path}: expected at most 1000 bytes, got more"):
        archives.read_file(archives.StoredFile(path))


@QUICK
@given(
    name=st.sampled_from(["a.tar", "a.zip", *PACK]),
    places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8),
    length=st.floats(0, 1),
)
def test_damaged_archive_is_read_or_rejected_by_name(tmp_path, name, places, length):
    whole = {"a.tar": tar_bytes(a=b"one" * 99), "a.zip": zip_bytes(a=b"one" * 99)}
    content = bytearray(whole[name] if name in whole else PACK[name](whole["a.tar"]))
    for place, value in places:
        content[int(place * len(content))] = value
    path = put(tmp_path / name, bytes(content[: round(length * len(content)) if length > 0.2 else None]))
    with rejected_by_name(str(path)):
        for _, file in archives.list_files(path):
            archives.read_file(file)


def test_member_without_a_name_is_no_error(tmp_path):
    """An end of text at the begin of a name in the table ends it there."""
    path = tmp_path / "a.zip"
    path.write_bytes(zip_bytes(a=b"a", b=b"b").replace("é/a.png".encode(), b"\0 /a.png"))
    assert "é/b.png" in [str(file.member) for _, file in archives.list_files(path)]


@pytest.mark.parametrize("name", ["../out.png", "/out.png", "a/../../out.png", "..\\out.png", "C:/out.png"])
def test_member_outside_is_rejected(tmp_path, name):
    put_zip(tmp_path / "a.zip", {name: b"x"})
    put_tar(tmp_path / "a.tar", {name: b"x"})
    for path in (tmp_path / "a.zip", tmp_path / "a.tar"):
        with pytest.raises(ValueError, match="which lies outside"):
            archives.list_files(path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_link_in_a_tar_is_rejected(tmp_path, kind):
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(info)
    with pytest.raises(ValueError, match="got the link or device 'link'"):
        archives.list_files(tmp_path / "a.tar")


def test_link_in_a_zip_is_rejected(tmp_path):
    info = zipfile.ZipInfo("link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="got the link 'link'"):
        archives.list_files(tmp_path / "a.zip")


def test_archive_too_large_unpacked_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 10)
    put_zip(tmp_path / "a.zip", {"a": b"123456", "b": b"123456"})
    with pytest.raises(ValueError, match="at most 10 bytes unpacked"):
        archives.list_files(tmp_path / "a.zip")


def test_file_too_large_unpacked_is_rejected(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(5000)))
    with pytest.raises(ValueError, match=r"a.gz: expected at most 1000 bytes"):
        archives.read_file(archives.StoredFile(tmp_path / "a.gz"))
