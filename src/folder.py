"""A user's own photographs: images/, truth/ and optional fov/, second_observer/ and groups.csv."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from src import files

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".ppm", ".pgm", ".bmp", ".gif")
IGNORED = ("thumbs.db", "desktop.ini")
MOST_VESSELS = 0.5  # share of the FOV; drawings have some 0.1, inverted ones some 0.9
IN_EXPERIMENTS = (
    "in `dvc exp run --temp` and `--queue` photographs that git ignores are absent: give an absolute path there"
)


class Photograph(NamedTuple):
    """One photograph of the folder and its drawings."""

    id: str
    group: str
    image: Path
    truth: Path
    fov: Path | None
    second_observer: Path | None


def find(root: Path) -> list[Photograph]:
    """The photographs below `root`, sorted by name; image and drawings have exactly the same name but for the suffix.

    Without groups.csv (columns id,group) each photograph is a group of its own. A drawing may be missing in fov and
    in second_observer, and so may these folders.

    Raises:
        FileNotFoundError: a folder, an image or a truth is missing, or there are no images.
        ValueError: two files of one name, a file that is no picture, or a groups.csv that does not fit.
    """
    for needed in (root, root / "images"):
        if not needed.is_dir():
            raise FileNotFoundError(f"{needed}: expected a folder (data.folder.path), found none; {IN_EXPERIMENTS}")
    images = _pictures(root / "images")
    if not images:
        raise FileNotFoundError(f"{root / 'images'}: expected at least one photograph, found none; {IN_EXPERIMENTS}")
    truths = _pictures(root / "truth")
    fovs = _pictures(root / "fov") if (root / "fov").exists() else {}
    seconds = _pictures(root / "second_observer") if (root / "second_observer").exists() else {}
    _match(images, truths, root / "truth")
    _refuse_orphans(images, fovs)
    _refuse_orphans(images, seconds)
    groups = _groups(root / "groups.csv", set(images))
    return [
        Photograph(id_, f"folder-{groups[id_]}", image, truths[id_], fovs.get(id_), seconds.get(id_))
        for id_, image in sorted(images.items())
    ]


def refuse_inverted(path: Path, vessels: np.ndarray, fov: np.ndarray) -> None:
    """ValueError naming `path` where the (H, W) bool vessels fill more of the FOV than vessels can."""
    share = vessels[fov].mean()
    if share > MOST_VESSELS:
        raise ValueError(
            f"{path}: expected vessels in at most {MOST_VESSELS:.0%} of the field of view, got {share:.0%} "
            "(inverted: black on white?)"
        )


def _pictures(folder: Path) -> dict[str, Path]:
    """The pictures in `folder` by name without suffix."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: missing; data.folder.path needs the folders images and truth")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name.lower() in IGNORED:
            continue
        if path.suffix.lower() not in SUFFIXES or not path.is_file():
            raise ValueError(f"{path}: expected pictures only ({', '.join(SUFFIXES)})")
        if path.stem in found:
            raise ValueError(f"{path}: expected one file named {path.stem}, got {found[path.stem].name} as well")
        found[path.stem] = path
    return found


def _match(images: dict[str, Path], drawings: dict[str, Path], folder: Path) -> None:
    """Refuse an image without a drawing in `folder`, and the reverse."""
    for id_, image in sorted(images.items()):
        if id_ not in drawings:
            raise FileNotFoundError(
                f"{folder / id_}.*: missing, though there is {image} (the names must be the same but for the suffix)"
            )
    _refuse_orphans(images, drawings)


def _refuse_orphans(images: dict[str, Path], drawings: dict[str, Path]) -> None:
    for id_, drawing in sorted(drawings.items()):
        if id_ not in images:
            expected = drawing.parent.parent / "images" / f"{id_}.*"
            raise FileNotFoundError(
                f"{expected}: missing, though there is {drawing} (the names must be the same but for the suffix)"
            )


def _groups(path: Path, ids: set[str]) -> dict[str, str]:
    """The group of each photograph."""
    if not path.exists():
        return {id_: id_ for id_ in ids}
    header, *cells = files.read_rows(path)
    rows = [dict(zip(header, row, strict=False)) for row in cells]
    if any(not row.get("id") or not row.get("group") for row in rows):
        raise ValueError(f"{path}: expected the columns id,group, filled in every row")
    listed = [row["id"] for row in rows]
    for problem, names in (
        ("an id twice", sorted({id_ for id_ in listed if listed.count(id_) > 1})),
        ("an id without a photograph in images", sorted(set(listed) - ids)),
        ("no row for a photograph in images", sorted(ids - set(listed))),
    ):
        if names:
            raise ValueError(f"{path}: expected a row for each photograph, got {problem}: {names[0]}")
    return {row["id"]: row["group"] for row in rows}
