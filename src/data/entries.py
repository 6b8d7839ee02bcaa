"""Images of all data sets as entries that are verified and decoded when they are loaded."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from src.common import image_geometry
from src.data import custom_dataset, datasets, fov_detection, image_decoding, image_opening, splits
from src.data.archives import StoredFile
from src.data.custom_dataset import CustomImage
from src.data.dataset_types import DataSet, Record
from src.data.file_verification import VerifiedFile, read_verified
from src.data.image_files import ImageFiles
from src.data.locate_files import locate_files
from src.data.samples import LabelledImage
from src.data.splits import Subsets, Uses
from src.synthetic import generator

FIRST_TEST = 5000  # number of the first synthetic test image, whatever the number of training images


class Entry(NamedTuple):
    """An image that is not yet loaded. `load` works in another process, too; `pixel_count` decodes no pixel."""

    dataset: str
    id: str
    group: str
    load: Callable[[], LabelledImage]
    pixel_count: Callable[[], int]


def synthetic_entries(n_train: int, n_test: int, height: int, width: int, seed: int) -> Subsets[Entry]:
    """Return entries of synthetic images, each a group of its own.

    Training images are numbered from 0 and test images from `FIRST_TEST`.
    """

    def entry(number: int) -> Entry:
        id_ = f"{number:04d}"
        load = partial(_load_synthetic, id_, seed, number, height, width)
        return Entry("phantom", id_, f"phantom-{id_}", load, partial(int, height * width))

    return Subsets(tuple(map(entry, range(n_train))), tuple(map(entry, range(FIRST_TEST, FIRST_TEST + n_test))))


def custom_entries(name: str, path: Path, uses: Uses, test_fraction: float, seed: int) -> Subsets[Entry]:
    """Return entries of the user's data set `name` at `path`.

    All are for training or for testing; where both are asked for, `test_fraction` of the groups is for testing.

    Raises:
        FileNotFoundError, ValueError: as in `custom_dataset.find`, or there are too few groups to split.
    """
    found = custom_dataset.find(name, path)
    groups = [image.group for image in found]
    if uses.train and uses.test:
        try:
            test_groups = splits.split_groups(groups, test_fraction, seed)
        except ValueError as error:
            raise ValueError(f"data.folder.test_fraction, data set {name}: {error}") from error
    else:
        test_groups = frozenset(groups if uses.test else ())
    return Subsets(
        tuple(_custom_entry(name, image) for image in found if image.group not in test_groups),
        tuple(_custom_entry(name, image) for image in found if image.group in test_groups),
    )


def public_entries(name: str, split: str, uses: Uses, root: Path) -> Subsets[Entry]:
    """Return entries of a public data set, whose files are located or downloaded; `root` is the project folder.

    Files of a part that is not used may be missing. All listed files are verified: those of entries when they are
    loaded, the others here.

    Raises:
        FileNotFoundError: a file is missing; the message says where to get it and where to put it.
        ValueError: the split does not fit, or a file or archive is broken or not the official one.
    """
    dataset = datasets.PUBLIC[name]
    if split == "all" and uses.train:
        raise ValueError(
            f"data.splits.{name}: expected {' or '.join(dataset.splits)}, since data.train lists {name}, "
            "got all (every image a test image)"
        )
    records = datasets.official_split(name, split)
    used = Subsets(records.train if uses.train else (), records.test if uses.test else ())
    found = locate_files(dataset, [*used.train, *used.test], root)
    listed = datasets.manifest(name)
    _check_hashes_known(dataset, listed)
    in_use = {place for record in (*used.train, *used.test) for place in record.files.present()}
    for place in sorted(set(listed) & set(found) - in_use):
        read_verified(VerifiedFile(found[place], listed[place]), listed)
    return Subsets(
        tuple(_public_entry(name, record, found, listed) for record in used.train),
        tuple(_public_entry(name, record, found, listed) for record in used.test),
    )


def _load_synthetic(id_: str, seed: int, number: int, height: int, width: int) -> LabelledImage:
    image = generator.generate(seed, number, height, width)
    return LabelledImage(id_, f"phantom-{id_}", image.image, image.truth, image.fov, None)


def _custom_entry(name: str, image: CustomImage) -> Entry:
    files = image.files.map(lambda path: VerifiedFile(StoredFile(path), None))
    return Entry(name, image.id, image.group, partial(_load_custom, image), partial(_pixel_count, files.image, {}))


def _public_entry(name: str, record: Record, found: Mapping[str, StoredFile], listed: Mapping[str, str]) -> Entry:
    files = record.files.map(lambda place: VerifiedFile(found[place], listed.get(place)))
    load = partial(_load, record.id, record.group, files, listed, apply_orientation=False)
    return Entry(name, record.id, record.group, load, partial(_pixel_count, files.image, listed))


def _pixel_count(image: VerifiedFile, listed: Mapping[str, str]) -> int:
    return image_opening.pixel_count(read_verified(image, listed), str(image.file))


def _load_custom(image: CustomImage) -> LabelledImage:
    files = image.files.map(lambda path: VerifiedFile(StoredFile(path), None))
    loaded = _load(image.id, image.group, files, {}, apply_orientation=True)
    custom_dataset.check_not_inverted(image.files.truth, loaded.truth, loaded.fov)
    if image.files.second_observer is not None and loaded.second_observer is not None:
        custom_dataset.check_not_inverted(image.files.second_observer, loaded.second_observer, loaded.fov)
    return loaded


def _load(
    id_: str, group: str, files: ImageFiles[VerifiedFile], listed: Mapping[str, str], *, apply_orientation: bool
) -> LabelledImage:
    """Verify and decode an image and its annotations; an FOV without a file is the opaque part, or detected."""
    content = read_verified(files.image, listed)
    decoded = image_decoding.decode(content, str(files.image.file), apply_orientation)
    image = decoded.image

    def annotation(file: VerifiedFile) -> np.ndarray:
        return _decode_annotation(file, listed, image, apply_orientation)

    truth = annotation(files.truth)
    if files.fov is not None:
        fov = annotation(files.fov)
    elif decoded.opaque is not None:
        image, fov, _ = fov_detection.opaque_field(image, decoded.opaque)
    else:
        fov = _detect_fov(image, files.image)
    second = None if files.second_observer is None else annotation(files.second_observer)
    if files.fov is not None and not fov.any():
        raise ValueError(f"{files.fov.file}: expected a field of view, got an empty one")
    return LabelledImage(id_, group, image, truth, fov, second)


def _decode_annotation(
    file: VerifiedFile, listed: Mapping[str, str], image: np.ndarray, apply_orientation: bool
) -> np.ndarray:
    """Verify and decode an (H, W) bool annotation of the size of the image."""
    content = read_verified(file, listed)
    annotation = image_decoding.decode_annotation(content, str(file.file), apply_orientation)
    image_geometry.check_like_image(file.file, annotation.shape, image.shape)
    return annotation


def _detect_fov(image: np.ndarray, file: VerifiedFile) -> np.ndarray:
    try:
        return fov_detection.detect(image)
    except ValueError as error:
        raise ValueError(f"{file.file}: {error}") from error


def _check_hashes_known(dataset: DataSet, listed: Mapping[str, str]) -> None:
    """Raise ValueError where a file of the data set has neither an official hash nor an exemption."""
    for place in (place for record in dataset.records for place in record.files.present()):
        if place not in listed and place not in dataset.unlisted:
            manifest = datasets.MANIFESTS / f"{dataset.name}.sha256"
            raise ValueError(f"{manifest}: expected the SHA-256 of {place}, found none")
