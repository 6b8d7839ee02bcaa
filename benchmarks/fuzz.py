"""Feed the readers damaged and hostile input and count how they answer: python -m benchmarks.fuzz.

Each kind of input is built valid, then changed by what a seed says: bytes, structure, or a known trick (a bomb, a link,
a colour). An answer is *right* (a value of the promised form), *refused* (one sentence that names the file or key), or
a *fault*: any other exception, a sentence without a name, more than LONGEST seconds or MOST_MEMORY bytes, a crash. The
limits on archives are lowered, so that bombs are small and thousands of cases take minutes.
"""

import argparse
import bz2
import copy
import enum
import gzip
import io
import json
import multiprocessing
import random
import re
import resource
import shutil
import signal
import struct
import sys
import tarfile
import tempfile
import time
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

LONGEST = 20.0  # seconds of the processor for one case
SILENT = 300.0  # seconds after which a process that says nothing is taken to hang
MOST_MEMORY = 4 * 2**30  # bytes of address space beyond those of the start
REFUSALS = (ValueError, FileNotFoundError)  # exactly these: their kin come from a library's depths
PARAMS = Path("params.yaml").read_text(encoding="utf-8")
SHOWN = 20  # faults of a kind
VALUES = yaml.safe_load(PARAMS)
SIDE = 96  # pixels of the drawn photographs

Case = Callable[[random.Random, Path], None]


class Fault(Exception):
    """An answer that is neither right nor a refusal."""


class Found(NamedTuple):
    """A case that ended in a fault."""

    kind: str
    seed: int
    reason: str


def expect(right: bool, what: str) -> None:
    """A fault where an answer is not of the promised form."""
    if not right:
        raise Fault(f"wrong answer: {what}")


def damaged(rng: random.Random, content: bytes) -> bytes:
    """The bytes with some of them flipped, cut off, doubled, removed or set to an extreme; now and then unchanged."""
    value = bytearray(content)
    for _ in range(rng.choice((0, 1, 1, 1, 2, 4, 16))):
        if not value:
            break
        place, length = rng.randrange(len(value)), rng.choice((1, 1, 2, 4, 8, 64))
        match rng.randrange(6):
            case 0:
                value[place] ^= 1 << rng.randrange(8)
            case 1:
                del value[place:]
            case 2:
                del value[place : place + length]
            case 3:
                value[place:place] = value[place : place + length]
            case 4:
                value[place : place + length] = rng.choice((b"\x00", b"\xff", b"\x7f")) * length
            case 5:
                value[place : place + length] = rng.randbytes(length)
    return bytes(value)


# Parameters

HOSTILE = (
    None, True, -1, 0, 1, 10**30, -(10**30), 1e308, -1e-308, float("nan"), float("inf"), "", "1e-5", "null", "\x00",
    "é" * 500, [], [[]], {}, {"a": {}}, ["drive"] * 3, [1, 2], "../../etc/passwd", "01", "1_000", b"\xff",
)  # fmt: skip
TEXTS = (
    "2001-99-99", "0x", "!!python/object/apply:os.system [true]", "&a [*a]", "*none", "[" * 2000, "{" * 2000,
    "9" * 5000, "1e99999", "? [a]\n  : b", "!!binary x", "'", "\t", "<<: [1]", "!!timestamp x", "12:99:99", ".nan",
    "0o9", "~",
)  # fmt: skip


def params(rng: random.Random, folder: Path) -> None:
    """A params.yaml with changed values, keys, lines or bytes."""
    from src.params import Params, load_params, load_regression

    content = PARAMS.encode()
    match rng.randrange(5):
        case 0:
            content = damaged(rng, content)
        case 1 | 2:
            values = copy.deepcopy(VALUES)
            for _ in range(rng.choice((1, 1, 2, 5))):
                section = values.get(rng.choice(list(values)))
                if isinstance(section, dict) and section:
                    key = rng.choice(list(section))
                    section[rng.choice((key, key, key, "unknown", 7))] = rng.choice(HOSTILE)
            content = yaml.dump(values, Dumper=yaml.CSafeDumper, allow_unicode=True).encode()
        case 3:
            lines = PARAMS.splitlines()
            place = rng.randrange(len(lines))
            lines[place] = lines[place].partition(":")[0] + ": " + rng.choice(TEXTS)
            content = "\n".join(lines).encode()
        case 4:  # a billion laughs
            levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
            content = f"a0: &a0 [lol]\n{levels}{PARAMS}loss: *a11\n".encode()
    path = folder / "params.yaml"
    path.write_bytes(content)
    expect(isinstance(load_params(path), Params), "no Params")
    if rng.random() < 0.2:
        load_regression(path)


# Archives


def _tar_bytes(members: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for info, data in members:
            info.size = len(data) if info.isfile() else 0
            archive.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _name(rng: random.Random) -> str:
    return rng.choice(
        (
            "a.png",
            "f/b.png",
            "../c",
            "/d",
            "..\\e",
            "C:/g",
            "é.png",
            "a" * 300,
            "x\ny",
            "f/../../h",
            "a.png",
            "./i",
            "aux",
        )
    )


def tar_file(rng: random.Random, folder: Path) -> None:
    """A tar, packed or not: links, devices, names outside, damage, long-name, header and size bombs."""
    types = (tarfile.REGTYPE,) * 6 + (
        tarfile.SYMTYPE,
        tarfile.LNKTYPE,
        tarfile.CHRTYPE,
        tarfile.FIFOTYPE,
        tarfile.DIRTYPE,
    )
    members = []
    for _ in range(rng.randrange(1, 5)):
        info = tarfile.TarInfo(_name(rng))
        info.type, info.linkname = rng.choice(types), "/etc/passwd"
        members.append((info, rng.randbytes(rng.randrange(2000))))
    form = rng.choice((tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    content = _tar_bytes(members, form)
    pack, trick = rng.choice(PACKERS), rng.randrange(13)
    if trick < 6:
        content = damaged(rng, content)
    elif trick == 6:  # a name of 300 MB, a few kilobytes when compressed
        info = tarfile.TarInfo("././@LongLink")
        info.type, info.size = rng.choice((tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE)), 300 * 2**20
        content = pack(info.tobuf(tarfile.GNU_FORMAT) + bytes(2**20))
    elif trick == 7:  # members without end
        content = info_of("m").tobuf() * 300 + bytes(1024)
    elif trick == 8:  # a size that leads back to where it was
        header = bytearray(info_of("n").tobuf(tarfile.GNU_FORMAT))
        header[124:136] = struct.pack(">iq", -1, -512)
        header[148:156] = b"        "
        header[148:156] = b"%06o\0 " % sum(header)
        content = bytes(header) + content
    elif trick == 9:  # a huge member that is not there
        info = info_of("o")
        info.size = rng.choice((2**33, 2**40, 2**60))
        content = info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)
    elif trick == 10:  # a sparse file, whose map may be long
        info = tarfile.TarInfo("p")
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.realsize": "99999999999"}
        content = _tar_bytes([(info, b"9999999999\n" * 40)], tarfile.PAX_FORMAT)
    elif trick == 11:  # a bomb: 64 MB in some kilobytes
        content = pack(_tar_bytes([(info_of("q"), bytes(2**26))], form))
    if rng.random() < 0.6 and trick not in (6, 11):
        content = damaged(rng, pack(content)) if rng.random() < 0.5 else pack(content)
    _list_and_read(folder / rng.choice(("a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2")), content)


PACKERS = (gzip.compress, bz2.compress)


def info_of(name: str) -> tarfile.TarInfo:
    """The header of an empty member."""
    return tarfile.TarInfo(name)


def zip_file(rng: random.Random, folder: Path) -> None:
    """A zip: links, names outside, damage, false sizes, bombs."""
    stream = io.BytesIO()
    trick = rng.randrange(10)
    with zipfile.ZipFile(
        stream, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    ) as archive:
        for _ in range(300 if trick == 9 else rng.randrange(1, 5)):
            info = zipfile.ZipInfo(_name(rng) if trick != 9 else str(rng.random()))
            if rng.random() < 0.1:
                info.external_attr = 0o120777 << 16
            archive.writestr(info, rng.randbytes(rng.randrange(2000)) if trick != 9 else b"")
    content = stream.getvalue()
    if trick < 6:
        content = damaged(rng, content)
    elif trick == 6:  # what the table says of sizes is not so
        value = bytearray(content)
        at = content.rfind(b"PK\x01\x02")
        value[at + 20 : at + 28] = struct.pack("<II", rng.choice((0, 1, 2**31)), rng.choice((0, 10, 2**31, 2**32 - 2)))
        content = bytes(value)
    elif trick == 7:  # a bomb
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("a.png", "w") as member:
            for _ in range(6):
                member.write(bytes(2**20))
        content = stream.getvalue()
    _list_and_read(folder / "a.zip", content)


def _list_and_read(path: Path, content: bytes) -> None:
    from src import archives

    archives.LARGEST_FILE, archives.LARGEST_ARCHIVE, archives.MOST_MEMBERS = 2**22, 2**25, 200
    path.write_bytes(content)
    for _, file in archives.files(path)[:3]:
        data = archives.read(file)
        expect(isinstance(data, bytes) and len(data) <= archives.LARGEST_FILE, "more than LARGEST_FILE")


# Pictures


def drawn(rng: random.Random) -> tuple[np.ndarray, np.ndarray]:
    """A red disc with dark lines, (SIDE, SIDE, 3) uint8, and the lines, bool."""
    y, x = np.mgrid[:SIDE, :SIDE]
    inside = np.hypot(y - SIDE / 2, x - SIDE / 2) < 0.46 * SIDE
    lines = inside & (np.sin(0.3 * x + rng.uniform(0.05, 0.2) * y + rng.uniform(0, 6)) > 0.93)
    noise = np.random.default_rng(rng.randrange(2**32)).integers(0, 20, (SIDE, SIDE, 1))
    image = np.array([190, 90, 40]) - 50 * lines[..., None] + noise
    return np.where(inside[..., None], image, 0).astype(np.uint8), lines


def _saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def _huge_png(rng: random.Random) -> bytes:
    """A PNG of 20,000 pixels a side, or more, that compresses to a few kilobytes."""
    side, depth = rng.choice((8000, 20_000, 2**31 - 1)), rng.choice(((8, 0, 1), (8, 2, 3), (16, 2, 6)))

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", side, side, depth[0], depth[1], 0, 0, 0)
    body = zlib.compress(bytes(min(side * depth[2], 10**6) * 50))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def _photograph(rng: random.Random) -> bytes:
    picture = Image.fromarray(drawn(rng)[0])
    exif = Image.Exif()
    exif[0x0112] = rng.randrange(10)
    match rng.randrange(14):
        case 0:
            return _saved(picture, "JPEG", exif=exif, quality=rng.randrange(1, 96))
        case 1:
            return _saved(picture.convert("CMYK"), rng.choice(("JPEG", "TIFF")))
        case 2:
            return _saved(picture.convert(rng.choice(("RGBA", "LA", "P", "L", "1"))), "PNG")
        case 3:
            deep = np.asarray(picture.convert("L")).astype(np.uint16) * 257
            return _saved(Image.fromarray(deep), rng.choice(("PNG", "TIFF", "PPM")))
        case 4:
            frames = [picture.rotate(angle) for angle in (0, 90, 180)]
            return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
        case 5:
            return _saved(picture, "TIFF", save_all=True, append_images=[picture.resize((7, 9))])
        case 6:
            return _saved(picture, "TIFF", compression=rng.choice(("tiff_lzw", "jpeg", "tiff_deflate", "packbits")))
        case 7:
            return _saved(picture.resize((rng.choice((1, 2, 3, 5)), rng.choice((1, 2, 400)))), "PNG")
        case 8:
            return _huge_png(rng)
        case 9:
            return _saved(picture, rng.choice(("WEBP", "PDF", "EPS", "ICO", "TGA", "JPEG2000")))
        case 10:
            return _saved(Image.fromarray(np.asarray(picture.convert("F"))), "TIFF")
        case 11:
            return _saved(picture.convert(rng.choice(("LAB", "YCbCr", "RGBX"))), "TIFF")
        case 12:
            return rng.randbytes(rng.randrange(3000))
        case _:
            return _saved(picture, rng.choice(("PNG", "BMP", "PPM", "TIFF")))


def photograph(rng: random.Random, folder: Path) -> None:
    """A photograph of any kind and mode, damaged or not, as a user's file and as one that is sent to the service."""
    from src import decode, intake

    content = _photograph(rng)
    content = damaged(rng, content) if rng.random() < 0.7 else content
    image = decode.photograph(content, "images/a.png", upright=rng.random() < 0.5)
    expect(image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size > 0, f"{image.shape}")
    sent = intake.photograph(content, "images/a.png")
    field = intake.field_of_view(None, sent, "images/a.png")
    expect(field.shape == sent.shape[:2] and field.any(), "field of view")


class Due(enum.Enum):
    """What is due to a truth."""

    TAKEN = enum.auto()
    TOLD = enum.auto()  # taken with a warning
    REFUSED = enum.auto()


def _truth(rng: random.Random, lines: np.ndarray) -> tuple[bytes, Due]:
    """A drawing in a file, and what is due to it."""
    grey = Image.fromarray(lines.astype(np.uint8) * 255)
    match rng.randrange(15):
        case 0:
            three = np.where(lines, 255, np.where(np.roll(lines, 2, 0), 128, 0)).astype(np.uint8)
            return _saved(Image.fromarray(three), "PNG"), Due.REFUSED
        case 1:
            return _saved(Image.fromarray(~np.asarray(grey)), "PNG"), Due.REFUSED
        case 2:
            return _saved(Image.fromarray(lines.astype(np.uint8)), "PNG"), Due.REFUSED
        case 3:  # arteries red, veins blue
            colour = np.zeros((*lines.shape, 3), np.uint8)
            colour[..., rng.choice((0, 2))] = lines * 255
            return _saved(Image.fromarray(colour), "PNG"), Due.REFUSED
        case 4:
            return _saved(grey.resize((SIDE + 1, SIDE)), "PNG"), Due.REFUSED
        case 5:
            return damaged(rng, _saved(grey, "PNG")), Due.TAKEN
        case 6:
            return _saved(grey.convert(rng.choice(("RGB", "RGBA", "P", "1", "LA"))), "PNG"), Due.TAKEN
        case 7:
            return _saved(grey, "GIF"), Due.TAKEN
        case 8:
            return _saved(Image.fromarray(lines.astype(np.uint16) * 65535), "TIFF"), Due.TAKEN
        case 9:
            return _saved(grey, "TIFF", save_all=True, append_images=[grey.rotate(90)]), Due.TAKEN
        case 10:
            return _saved(Image.fromarray(np.zeros_like(grey)), rng.choice(("PNG", "JPEG"))), Due.TOLD
        case 11:  # half of the distance between two lines
            return _saved(Image.fromarray(np.roll(grey, rng.choice((-10, 10)), 1)), "PNG"), Due.TOLD
        case 12:
            third = np.where(np.arange(SIDE) < SIDE // 2, rng.randrange(120, 137), 255) * lines
            quality = rng.randrange(75, 101)
            return _saved(Image.fromarray(third.astype(np.uint8)), "JPEG", quality=quality), Due.REFUSED
        case 13:
            return _saved(Image.fromarray(~np.asarray(grey)), "JPEG", quality=rng.randrange(50, 101)), Due.REFUSED
        case _:
            return _saved(grey, rng.choice(("PNG", "BMP", "TIFF", "PPM"))), Due.TAKEN


def folder_set(rng: random.Random, folder: Path) -> None:
    """A user's folder with photographs and truths, one of them odd; read as stage download does, and audited."""
    from src import audit, datasets, download, samples

    own, meant, due = folder / "own", {}, Due.TAKEN
    for name in ("a", "b"):
        image, lines = drawn(rng)
        content = _saved(Image.fromarray(lines), "PNG")
        if name == "b":
            content, due = _truth(rng, lines)
        suffix = rng.choice((".png", ".png", ".jpg", ".tif", ".gif"))
        for kind, data in (("images", _saved(Image.fromarray(image), "PNG")), ("truth", content)):
            (own / kind).mkdir(parents=True, exist_ok=True)
            (own / kind / f"{name}{suffix}").write_bytes(data)
        meant[name] = lines
    if rng.random() < 0.5:
        (own / "groups.csv").write_bytes(damaged(rng, b"id,group\na,1\nb,2\n"))
    entries = download.own(own, datasets.Subsets(False, True), 0.25, 1).test
    for entry in entries:
        samples.write_eye(folder / "test", "folder", entry.load())
    samples.write_table(folder / "test", [entry[:3] for entry in entries])
    warnings = audit.run(folder, ["test"]).warnings
    expect(due is not Due.REFUSED, "an unclear truth was taken")
    expect(due is not Due.TOLD or any("truth/b.png" in said for said in warnings), "no warning of an odd truth")
    expect(not any("truth/a.png" in said for said in warnings), "a warning of a truth that is right")
    for entry in entries:
        found = entry.load().truth
        expect(found.shape == meant[entry.id].shape, "shape of the truth")


# Tables


def samples_table(rng: random.Random, folder: Path) -> None:
    """samples.csv of a subset."""
    from src import samples

    kinds = [folder / "d" / kind for kind in ("images", "truth", "fov")]
    for kind in kinds:
        kind.mkdir(parents=True, exist_ok=True)
        for name in ("1", "2"):
            (kind / f"{name}.png").touch()
    (folder / "samples.csv").write_bytes(damaged(rng, b"dataset,id,group\nd,1,g\nd,2,h\n"))
    expect(all(isinstance(sample.id, str) for sample in samples.find(folder, least=0)), "samples")


CELLS = ("", "nan", "inf", "-1", "1e400", "True", "x", "0x10", "1_0", "\x00", '"', "1.5", "9" * 23, "\n", "é")


def _scores_table(rng: random.Random) -> str:
    from src import reported

    names = list(reported.SCORES)[:12]
    rows = [["dataset", "id", "group", "observer", "region", "tp", "fp", "fn", "tn", *names]]
    for number in range(6):
        counts = [20 + number, 5, 6, 70]
        rows.append(
            ["drive", f"{number:02d}", f"g{number}", "model", "fov", *counts, *(f"{rng.random():.6f}" for _ in names)]
        )
    if rng.random() < 0.6:
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
    return "\n".join(",".join(map(str, row)) for row in rows) + "\n"


def scores_table(rng: random.Random, folder: Path) -> None:
    """per_image.csv, read and compared with an undamaged one."""
    from src import comparison, tables

    good, text = tables.parse(_scores_table(_Whole(1)), "old.csv", tables.PER_IMAGE), _scores_table(rng)
    path = folder / "per_image.csv"
    path.write_bytes(damaged(rng, text.encode()) if rng.random() < 0.7 else text.encode())
    try:
        table = comparison.read(str(path))
        rows = comparison.compare(good, table, "fov", "model", 100, 1)
    except ValueError as error:
        if re.match(r"drive[:/]|expected a test set|.*per_image", str(error)):  # a test set, or the file
            raise ValueError(f"per_image.csv: {error}") from error
        raise
    expect(all(row.images <= 6 for row in rows), "rows")


def gate(rng: random.Random, folder: Path) -> None:
    """scores.json and dvc.lock as the regression gate reads them, against undamaged ones."""
    from src import regression, revisions, tables
    from src.params import load_regression

    table = tables.parse(_scores_table(_Whole(1)), "old.csv", tables.PER_IMAGE)
    scores = {"threshold": 0.4, "drive": {"images": 6, "fov": {"f1": 0.8, "mcc": 0.7, "auc_roc": 0.9, "auc_pr": 0.9}}}
    section = {"evaluate": {"threshold": None, "widths": [2.5, 5.5]}}
    outs = [{"path": "metrics/scores.json", "md5": "a"}]
    lock = {"stages": {"evaluate": {"outs": outs, "params": {"params.yaml": section}}}}
    if rng.random() < 0.5:
        scores["drive"]["fov"][rng.choice(("f1", "mcc"))] = rng.choice((*HOSTILE[:-1], 10**400))
    texts = {
        "scores.json": json.dumps(scores),
        "../dvc.lock": yaml.safe_dump(lock),
        "per_image.csv": _scores_table(_Whole(1)),
    }
    root = folder / "tree"
    (root / "metrics").mkdir(parents=True, exist_ok=True)
    hit = rng.choice(list(texts))
    for name, text in texts.items():
        content = damaged(rng, text.encode()) if name == hit else text.encode()
        (root / "metrics" / name).resolve().write_bytes(content)
    side = regression.read(revisions.Tree("tree", None, root))
    before = regression.Side("old", table, scores, side.lock)
    regression.as_markdown(
        regression.compare(before, side, load_regression().model_copy(update={"draws": 100})), "a", "b"
    )


def metrics_folder(rng: random.Random, folder: Path) -> None:
    """The tables of the committed run, one of them damaged, as stages plot, report and record read and show them."""
    from src import page, plots, report, reported, runs, tables

    for name in (*tables.FORMATS, "scores.json"):
        shutil.copy(Path("metrics") / name, folder)
    hit = folder / rng.choice((*tables.FORMATS, "scores.json"))
    if hit.suffix == ".csv" and rng.random() < 0.6:
        rows = [line.split(",") for line in hit.read_text(encoding="utf-8").splitlines()]
        row = rng.choice(rows)
        row[rng.randrange(len(row))] = rng.choice(CELLS)
        hit.write_text("\n".join(map(",".join, rows)), encoding="utf-8")
    elif hit.suffix == ".json" and rng.random() < 0.6:
        scores = json.loads(hit.read_text(encoding="utf-8"))
        place = scores
        while isinstance(place[key := rng.choice(list(place))], dict) and place[key] and rng.random() < 0.8:
            place = place[key]
        place[rng.choice((key, key, "other"))] = rng.choice((*HOSTILE[:-1], 10**400))
        hit.write_text(json.dumps(scores), encoding="utf-8")
    else:
        hit.write_bytes(damaged(rng, hit.read_bytes()))
    runs.read_tables(folder)
    scores = tables.read_scores(folder / "scores.json", (*tables.POINT, *tables.AREAS))
    per_image = tables.read_per_image(folder / "per_image.csv", scores, page.OF_AN_IMAGE)
    summary = tables.read_summary(folder / "summary.csv", scores)
    differences = tables.read_differences(folder / "differences.csv", scores)
    curves, bins, classes = (
        tables.read_of_sets(folder / f"{name}.csv", scores) for name in ("curves", "reliability", "doubt")
    )
    history, audit = tables.read(folder / "training.csv", reported.HISTORY_COLUMNS), tables.read(folder / "audit.csv")
    run = report.Results(scores, summary, differences, audit, classes, VALUES, {}, {})
    expect("# " in report.write(run), "report")
    expect("<html" in page.write(run, page.Contents(per_image, history, dict.fromkeys(page.FIGURES, b""), [])), "page")
    plots.learning_curves(history)
    for chart, table in ((plots.roc, curves), (plots.precision_recall, curves), (plots.reliability, bins)):
        chart(dict(list(table.groupby("dataset"))), scores)
    plots.confusion(per_image, scores["threshold"])
    plots.per_image_f1(per_image)
    plots.intervals(summary)


class _Whole(random.Random):
    """Random numbers with which nothing is damaged."""

    def random(self) -> float:
        return 0.7


def patches_file(rng: random.Random, folder: Path) -> None:
    """The .npy files of a set of patches."""
    from src import patches

    arrays = {
        "images": np.zeros((2, 8, 8, 3), np.uint8),
        "truth": np.zeros((2, 8, 8), bool),
        "fov": np.zeros((2, 8, 8), bool),
    }
    hit = rng.choice(list(arrays))
    for kind, array in arrays.items():
        stream = io.BytesIO()
        np.save(stream, array.astype(object) if kind == hit and rng.random() < 0.1 else array)
        content = stream.getvalue()
        if kind == hit:
            content = damaged(rng, content[:128]) + content[128:] if rng.random() < 0.7 else damaged(rng, content)
        (folder / f"{kind}.npy").write_bytes(content)
    read = patches.read(folder)
    expect(read.images.shape[:3] == read.truth.shape == read.fov.shape, "shapes")


def model_file(rng: random.Random, folder: Path) -> None:
    """A saved network."""
    from src import models

    path = folder / "model.h5"
    if not MODEL:
        models.save(models.build("residual_unet", "efficientnetb0", None, (2, 2), 32), path)
        MODEL.append(path.read_bytes())
    path.write_bytes(damaged(rng, MODEL[0]))
    expect(models.load(path).output_shape[-1] == 1, "model")


MODEL: list[bytes] = []
KINDS: dict[str, Case] = {
    "params.yaml": params,
    "tar": tar_file,
    "zip": zip_file,
    "photograph": photograph,
    "folder": folder_set,
    "samples.csv": samples_table,
    "per_image.csv": scores_table,
    "gate": gate,
    "metrics": metrics_folder,
    "patches": patches_file,
    "model.h5": model_file,
}
SLOW = {  # so many times fewer cases
    "model.h5": 20,
    "metrics": 8,
    "folder": 4,
    "gate": 4,
    "per_image.csv": 4,
    "zip": 2,
    "tar": 2,
}
NAMED = re.compile(
    r"params\.yaml|\ba\.(tar|tgz|zip|png)|own/|test/|\.csv|\.json|dvc\.lock|\.npy|model\.h5|\bb\.\w+|old:|tree"
)


def answer(case: Case, seed: int) -> str:
    """`right`, `refused`, or the reason of a fault."""
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        with tempfile.TemporaryDirectory() as folder:
            case(random.Random(seed), Path(folder))
        return "right"
    except REFUSALS as error:
        said = str(error)
        if type(error) not in REFUSALS:
            return f"{type(error).__name__}: {said}"
        if not NAMED.search(said) or "\n" in said or len(said) > 4000:
            return f"no clear sentence: {said}"
        return "refused"
    except Exception as error:  # everything else is what is looked for
        return f"{type(error).__name__}: {error}"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _too_long(number: int, frame: object) -> None:
    raise Fault(f"more than {LONGEST:.0f} s")


def work(kind: str, first: int, cases: int, seconds: float, queue: multiprocessing.Queue) -> None:
    """Run the cases of one kind in this process and report each."""
    import warnings

    warnings.simplefilter("ignore")
    if kind != "model.h5":  # TensorFlow reserves more than it uses
        limit = MOST_MEMORY + 2**30
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    end = time.monotonic() + seconds
    for seed in range(first, first + cases):
        if time.monotonic() > end:
            break
        queue.put((seed, None))
        queue.put((seed, answer(KINDS[kind], seed)))
    queue.put(None)


def run(kind: str, first: int, cases: int, seconds: float) -> tuple[Counter, list[Found]]:
    """How many cases of a kind ended how; a crash ends its process, and the next case goes on in another."""
    counts, faults, end = Counter(), [], time.monotonic() + seconds
    last = first + cases
    while first < last and time.monotonic() < end:
        queue = multiprocessing.get_context("spawn").Queue()
        process = multiprocessing.get_context("spawn").Process(
            target=work, args=(kind, first, last - first, end - time.monotonic(), queue)
        )
        process.start()
        begun = None
        while True:
            try:
                item = queue.get(timeout=SILENT)
            except Exception:  # empty: hung or crashed
                item = "dead"
            if item is None:
                first = last
                break
            if item == "dead":
                counts["fault"] += 1
                faults.append(
                    Found(kind, begun if begun is not None else first, f"crash or hang, code {process.exitcode}")
                )
                first = (begun if begun is not None else first) + 1
                process.kill()
                break
            begun, result = item
            if result is None:
                continue
            counts["cases"] += 1
            counts[result if result in ("right", "refused") else "fault"] += 1
            if result not in ("right", "refused"):
                faults.append(Found(kind, begun, result))
        process.join()
    return counts, faults


def main() -> None:
    """Print the table, and the faults with the seeds that repeat them; ends with 1 where there are any."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1000, help="of each kind; fewer of the slow ones")
    parser.add_argument("--seconds", type=float, default=600.0, help="at most, of each kind")
    parser.add_argument("--seed", type=int, default=1, help="of the first case; the others follow")
    parser.add_argument("--kinds", nargs="*", choices=tuple(KINDS), default=tuple(KINDS))
    given = parser.parse_args()
    faults: list[Found] = []
    print("| kind | cases | right results | clear refusals | faults | seconds |\n| --- | --- | --- | --- | --- | --- |")
    for kind in given.kinds:
        begin = time.monotonic()
        counts, found = run(kind, given.seed, max(given.cases // SLOW.get(kind, 1), 1), given.seconds)
        faults += found
        row = (
            kind,
            counts["cases"],
            counts["right"],
            counts["refused"],
            counts["fault"],
            f"{time.monotonic() - begin:.0f}",
        )
        print("|", " | ".join(map(str, row)), "|", flush=True)
        for fault in found[:SHOWN]:
            print(f"{fault.kind}, seed {fault.seed}: {fault.reason[:300]}", file=sys.stderr, flush=True)
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
