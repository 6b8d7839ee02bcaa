"""Custom data sets of the user: images/, truth/ and optional fov/, second_observer/ and groups.csv."""

import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.common import atomic_io
from src.data.image_files import ImageFiles, is_leftover
from src.data.image_opening import SUFFIXES

MAX_VESSEL_FRACTION = 0.5  # of the FOV; annotations have some 0.1, inverted ones some 0.9
MIN_INSIDE_FRACTION = 0.1  # of the vessels, in the FOV; of an inverted one nearly none
FILES = ("images", "truth", "fov", "second_observer", "groups.csv")
TABLES = (".csv", ".tsv", ".xls", ".xlsx", ".ods")
IN_EXPERIMENTS = "in `dvc exp run --temp` and `--queue` images that git ignores are absent: give an absolute path there"


class CustomImage(NamedTuple):
    """An image of the folder with its annotations."""

    id: str
    group: str
    files: ImageFiles[Path]


def find(name: str, root: Path) -> list[CustomImage]:
    """Find the images of data set `name` below `root`, sorted by id.

    Annotations are named like the image but for the suffix. Without groups.csv (columns id,group) each image is a
    group of its own. The folders fov and second_observer, and single files of them, may be missing.

    Raises:
        FileNotFoundError: a folder, an image or a ground truth is missing, or there are no images.
        ValueError: two files have one name, a file is no image file, a folder in `root` is a link, groups.csv does
            not fit, or `root` holds another folder or table.
    """
    for needed in (root, root / "images"):
        if not needed.is_dir():
            raise FileNotFoundError(f"{needed}: expected a folder ({key(name)}), found none; {IN_EXPERIMENTS}")
    for path in sorted(root.iterdir()):
        meant = path.is_dir() or path.suffix.lower() in TABLES  # as one of FILES, under another name
        if meant and path.name not in FILES and not is_leftover(path.name):
            raise ValueError(f"{path}: expected no folder or table but {', '.join(FILES)}")
    images = _image_files(root / "images")
    if not images:
        raise FileNotFoundError(f"{root / 'images'}: expected at least one image, found none; {IN_EXPERIMENTS}")
    truths = _image_files(root / "truth")
    fovs = _image_files(root / "fov") if (root / "fov").exists() else {}
    seconds = _image_files(root / "second_observer") if (root / "second_observer").exists() else {}
    _check_annotated(images, truths, root / "truth")
    for annotations in (truths, fovs, seconds):
        _check_images_exist(images, annotations)
    groups = _read_groups(root / "groups.csv", set(images))
    return [
        CustomImage(id_, f"{name}-{groups[id_]}", ImageFiles(image, truths[id_], fovs.get(id_), seconds.get(id_)))
        for id_, image in sorted(images.items())
    ]


def key(name: str) -> str:
    """Return the key of params.yaml that holds the path of a data set."""
    return "data.folder.path" if name == "folder" else f"data.custom.{name}"


def check_not_inverted(path: Path, vessels: np.ndarray, fov: np.ndarray) -> None:
    """Raise ValueError naming `path` where (H, W) bool vessels fill most of the FOV, or nearly all lie outside."""
    fraction = vessels[fov].mean()
    if fraction > MAX_VESSEL_FRACTION:
        raise ValueError(
            f"{path}: expected vessels in at most {MAX_VESSEL_FRACTION:.0%} of the field of view, got {fraction:.0%} "
            "(inverted: black on white?)"
        )
    if vessels.any() and fov[vessels].mean() < MIN_INSIDE_FRACTION:
        raise ValueError(
            f"{path}: expected at least {MIN_INSIDE_FRACTION:.0%} of the vessels in the field of view, got "
            f"{fov[vessels].mean():.0%} (field of view inverted, or detected wrongly?)"
        )


def _image_files(folder: Path) -> dict[str, Path]:
    """Return the image files in `folder` by name without suffix, in Unicode's composed form (NFC).

    macOS decomposes `ä` into two characters (NFD): such a name looks the same, but is another one to other systems.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: missing; a custom data set needs the folders images and truth")
    if folder.is_symlink():
        raise ValueError(f"{folder}: expected a folder, got a link, behind which DVC sees no change; link its files")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if is_leftover(path.name):
            continue
        suffix = next((suffix for suffix in SUFFIXES if path.name.lower().endswith(suffix)), None)
        if suffix is None or not path.is_file():
            raise ValueError(f"{path}: expected image files only ({', '.join(SUFFIXES)})")
        id_ = unicodedata.normalize("NFC", path.name[: -len(suffix)])
        if not id_.isprintable():
            raise ValueError(f"{folder}: expected file names of printable characters, got {path.name!r}")
        if id_ in found:
            raise ValueError(f"{path}: expected one file named {id_}, got {found[id_].name} as well")
        found[id_] = path
    return found


def _check_annotated(images: Mapping[str, Path], annotations: Mapping[str, Path], folder: Path) -> None:
    """Raise FileNotFoundError for an image without an annotation in `folder`."""
    for id_, image in sorted(images.items()):
        if id_ not in annotations:
            raise FileNotFoundError(
                f"{folder / id_}.*: missing, though there is {image} (the names must be the same but for the suffix)"
            )


def _check_images_exist(images: Mapping[str, Path], annotations: Mapping[str, Path]) -> None:
    """Raise FileNotFoundError for an annotation without an image."""
    for id_, annotation in sorted(annotations.items()):
        if id_ not in images:
            expected = annotation.parent.parent / "images" / f"{id_}.*"
            raise FileNotFoundError(
                f"{expected}: missing, though there is {annotation} (the names must be the same but for the suffix)"
            )


def _read_groups(path: Path, ids: set[str]) -> dict[str, str]:
    """Read the group of each image; without a file, its id."""
    if not path.exists():
        return {id_: id_ for id_ in ids}
    header, *cells = atomic_io.read_rows(path)
    rows = [
        dict(zip(header, (unicodedata.normalize("NFC", cell.strip()) for cell in row), strict=False)) for row in cells
    ]
    if any(not row.get("id") or not row.get("group") for row in rows):
        raise ValueError(f"{path}: expected the columns id,group, filled in every row")
    for row in rows:
        if not row["group"].isprintable():
            raise ValueError(f"{path}: expected groups of printable characters, got {row['group']!r}")
    listed = [row["id"] for row in rows]
    for problem, names in (
        ("an id twice", sorted({id_ for id_ in listed if listed.count(id_) > 1})),
        ("an id without an image in images", sorted(set(listed) - ids)),
        ("no row for an image in images", sorted(ids - set(listed))),
    ):
        if names:
            raise ValueError(f"{path}: expected a row for each image, got {problem}: {names[0]}")
    return {row["id"]: row["group"] for row in rows}
