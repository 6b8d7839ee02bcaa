"""What is known of a public data set: its images, their files in the official layout, and where they are from."""

from typing import NamedTuple

from src.data.image_files import ImageFiles


class Record(NamedTuple):
    """An image of a public data set: its patient (group), and its files in the official layout."""

    id: str
    group: str
    files: ImageFiles[str]


class Download(NamedTuple):
    """An archive at the official source."""

    file: str
    url: str
    sha256: str | None = None


class DataSet(NamedTuple):
    """A public data set; `splits` holds the ids of the training images, the others are test images.

    `names` are the usual names of its folder or archives, without suffix, in lower-case letters and digits.
    `unlisted` are files of which no official hash is known.
    """

    name: str
    description: str
    names: tuple[str, ...]
    records: tuple[Record, ...]
    splits: dict[str, frozenset[str]]
    downloads: tuple[Download, ...] = ()
    by_hand: str = ""
    unlisted: frozenset[str] = frozenset()
