"""TIFF files of every kind, for tests: what tifffile and Pillow do not write is made by hand."""

import io
import zlib
from typing import NamedTuple

import numpy as np
import tifffile

COMPRESSIONS = {"none": 1, "lzw": 5, "deflate": 8, "packbits": 32773}
LZW_CLEAR, LZW_END, LZW_RUN = 256, 257, 200  # codes stay 9 bits wide when the table is cleared often enough


class TiffKind(NamedTuple):
    """How an array (H, W, C) is stored; `order` is `<` or `>`."""

    photometric: str
    planar: bool = False
    compression: str = "none"
    order: str = "<"
    tiled: bool = False
    alpha: str | None = None  # of the extra channel: unassalpha, assocalpha, unspecified


def tiff_bytes(array: np.ndarray, kind: TiffKind, **tags: object) -> bytes:
    """Store an array (H, W, C) as it is."""
    stored = array[..., 0] if array.shape[2] == 1 else np.moveaxis(array, 2, 0) if kind.planar else array
    options = {"photometric": kind.photometric, "byteorder": kind.order, "metadata": None, **tags}
    options |= {"tile": (16, 16)} if kind.tiled else {"rowsperstrip": 7}
    if array.shape[2] > 1:
        options["planarconfig"] = "separate" if kind.planar else "contig"
    if kind.alpha:
        options["extrasamples"] = [kind.alpha]
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream, byteorder=options.pop("byteorder")) as writer:
        writer.write(stored, **options)
    return stream.getvalue() if kind.compression == "none" else _compressed(stream.getvalue(), kind.compression)


def _compressed(content: bytes, compression: str) -> bytes:
    """Compress the strips or tiles of a file: they are appended, and the tags point at them."""
    encode = {"lzw": _lzw, "packbits": _packbits, "deflate": zlib.compress}[compression]
    with tifffile.TiffFile(io.BytesIO(content)) as file:
        page = file.pages[0]
        tags = {tag.name: tag for tag in page.tags}
        places, sizes = (
            next(tag for name, tag in tags.items() if name.endswith(end)) for end in ("Offsets", "ByteCounts")
        )
        encoded = [
            encode(content[at : at + size]) for at, size in zip(page.dataoffsets, page.databytecounts, strict=True)
        ]
        starts = len(content) + np.cumsum([0, *map(len, encoded)])[:-1]
        changed = bytearray(content)
        for tag, values in (
            (places, starts),
            (sizes, map(len, encoded)),
            (tags["Compression"], [COMPRESSIONS[compression]]),
        ):
            width = 2 if tag.dtype_name == "SHORT" else 4
            raw = b"".join(int(v).to_bytes(width, "little" if file.byteorder == "<" else "big") for v in values)
            changed[tag.valueoffset : tag.valueoffset + len(raw)] = raw
    return bytes(changed) + b"".join(encoded)


def _packbits(data: bytes) -> bytes:
    return b"".join(bytes([len(data[at : at + 128]) - 1]) + data[at : at + 128] for at in range(0, len(data), 128))


def _lzw(data: bytes) -> bytes:
    """Encode literals alone, 9 bits each."""
    codes = []
    for number, value in enumerate(data):
        codes += [LZW_CLEAR, value] if number % LZW_RUN == 0 else [value]
    bits = "".join(f"{code:09b}" for code in (*codes, LZW_END))
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8, "big")
