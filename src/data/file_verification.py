"""Read files of public data sets, verified by their official SHA-256."""

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

from src.data import archives
from src.data.archives import StoredFile


class VerifiedFile(NamedTuple):
    """A file and the SHA-256 that it must have (None: not known)."""

    file: StoredFile
    sha256: str | None


def read_verified(verified: VerifiedFile, listed: Mapping[str, str]) -> bytes:
    """Read a file and check its SHA-256.

    Args:
        verified: the file.
        listed: SHA-256 of each file of the data set, by its place: the error message says if the content is another's.

    Raises:
        ValueError: the content has another SHA-256, or is broken; the message begins with the file.
    """
    content = archives.read_file(verified.file)
    digest = hashlib.sha256(content).hexdigest()
    if verified.sha256 not in (None, digest):
        other = next((f", which is that of {place}" for place, known in listed.items() if known == digest), "")
        raise ValueError(
            f"{verified.file}: expected the official file (SHA-256 {verified.sha256}), got {len(content)} bytes "
            f"with SHA-256 {digest}{other}"
        )
    return content
