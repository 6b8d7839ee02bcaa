"""Split images into training, validation and test subsets, by patient."""

from collections.abc import Iterable
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

Part = TypeVar("Part")


class Subsets(NamedTuple, Generic[Part]):
    """Training and test images of a data set; the validation images are later taken from the training images."""

    train: tuple[Part, ...]
    test: tuple[Part, ...]


class Uses(NamedTuple):
    """Whether a data set is trained on and tested on."""

    train: bool
    test: bool


class Grouped(Protocol):
    """An image of a data set and a group: images of one patient share a group."""

    @property
    def dataset(self) -> str:
        """Key of the data set."""

    @property
    def group(self) -> str:
        """Name of the group."""


Image = TypeVar("Image", bound=Grouped)


def split_groups(groups: Iterable[str], fraction: float, seed: int) -> frozenset[str]:
    """Select the groups to hold out: `fraction` of the distinct ones, at least one and never all, at random by `seed`.

    Raises:
        ValueError: there are fewer than two distinct groups.
    """
    distinct = sorted(set(groups))
    if len(distinct) < 2:
        raise ValueError(f"expected at least two groups (patients) to hold some out, got {len(distinct)}")
    count = min(max(round(fraction * len(distinct)), 1), len(distinct) - 1)
    order = np.random.default_rng(seed).permutation(len(distinct))
    return frozenset(distinct[place] for place in order[:count])


def split_validation(train: Iterable[Image], fraction: float, seed: int) -> dict[str, list[Image]]:
    """Split training images into `train` and `validation`; the latter gets a `fraction` of the groups, none for 0.

    Each data set with several groups gives that fraction of its own, so that each has a say in the threshold.
    """
    train = list(train)
    if fraction == 0:
        return {"train": train, "validation": []}
    held_out = _validation_groups(train, fraction, seed)
    return {
        "train": [image for image in train if image.group not in held_out],
        "validation": [image for image in train if image.group in held_out],
    }


def _validation_groups(train: list[Image], fraction: float, seed: int) -> frozenset[str]:
    """Select groups of each data set; of all together where none has several."""
    datasets: dict[str, set[str]] = {}
    for image in train:
        datasets.setdefault(image.dataset, set()).add(image.group)
    several = [groups for groups in datasets.values() if len(groups) > 1] or [set().union(*datasets.values())]
    try:
        return frozenset().union(*(split_groups(groups, fraction, seed) for groups in several))
    except ValueError as error:
        raise ValueError(f"data.validation_fraction: {error}") from error


def hold_out_fold(
    train: Iterable[Image], tested: Iterable[str], number: int, folds: int, seed: int
) -> tuple[list[Image], list[Image]]:
    """Split training images into those to train on, and those of fold `number` of `folds` (from 1) to test on.

    Each patient of the data sets `tested` is in exactly one fold, at random by `seed`. A fold has as many patients of
    each data set as any other, give or take one. Other data sets are trained on, without the patients of the fold.

    Raises:
        ValueError: there are fewer patients than folds.
    """
    train, tested = list(train), set(tested)
    datasets = {image.group: image.dataset for image in train if image.dataset in tested}
    if len(datasets) < folds:
        raise ValueError(
            f"data.test_fold: expected at most as many folds as patients, got {folds} of {len(datasets)} patients"
        )
    groups = sorted(datasets)
    shuffled = [groups[place] for place in np.random.default_rng(seed).permutation(len(groups))]
    held_out = set(sorted(shuffled, key=datasets.__getitem__)[number - 1 :: folds])
    return (
        [image for image in train if image.group not in held_out],
        [image for image in train if image.group in held_out and image.dataset in tested],
    )


def subsample(images: Iterable[Image], max_images: int | None, seed: int) -> list[Image]:
    """Select at most `max_images` of each data set at random by `seed`, all where None; synthetic images are all kept.

    A smaller selection is part of a larger one.
    """
    datasets: dict[str, list[Image]] = {}
    for image in images:
        datasets.setdefault(image.dataset, []).append(image)
    selected = []
    for name, part in datasets.items():
        if max_images is not None and name != "phantom":
            order = np.random.default_rng(seed).permutation(len(part))
            part = [part[place] for place in sorted(order[:max_images])]
        selected += part
    return selected


def check_disjoint_groups(train: Iterable[str], test: Iterable[str]) -> None:
    """Raise ValueError where a group is in both training and test images."""
    shared = sorted(set(train) & set(test))
    if shared:
        raise ValueError(
            f"data.train, data.test: expected different patients, got {len(shared)} on both sides, the first "
            f"{shared[0]} (the images of rbv are those of drive)"
        )
