"""The public data sets: reference, licence, official layout and splits, and which photographs show one person."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

MANIFESTS = Path(__file__).parent / "manifests"


class Record(NamedTuple):
    """One photograph of a public set: whose it is, and its files in the official layout."""

    id: str
    group: str
    image: str
    truth: str
    fov: str | None = None
    second_observer: str | None = None

    def files(self) -> list[str]:
        """All its files."""
        return [file for file in self[2:] if file is not None]


class Download(NamedTuple):
    """An archive as the official source offers it."""

    file: str
    url: str
    sha256: str | None = None


class DataSet(NamedTuple):
    """A public data set; `splits` gives the ids of the training images, the others are test images.

    `names` are those of its folder or archives, without suffix, in lower-case letters and digits.
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


class Subsets(NamedTuple):
    """Training and test photographs of a set; those for validation are later cut from the training ones."""

    train: tuple
    test: tuple


def _drive() -> DataSet:
    def record(number: int) -> Record:
        folder, kind = ("training", "training") if number > 20 else ("test", "test")
        second = None if number > 20 else f"test/2nd_manual/{number:02d}_manual2.gif"
        return Record(
            f"{number:02d}",
            f"drive-{number:02d}",
            f"{folder}/images/{number:02d}_{kind}.tif",
            f"{folder}/1st_manual/{number:02d}_manual1.gif",
            f"{folder}/mask/{number:02d}_{kind}_mask.gif",
            second,
        )

    return DataSet(
        "drive",
        "DRIVE, 40 photographs of 584x565 of 40 people, 45 degrees, test images drawn twice. J. Staal, M. D. "
        "Abramoff, M. Niemeijer, M. A. Viergever, B. van Ginneken, Ridge-based vessel segmentation in color images of "
        "the retina, IEEE TMI 23(4), 2004. Licence CC BY 4.0 as its host states.",
        ("drive", "training", "test"),
        tuple(map(record, range(1, 41))),
        {"20/20": frozenset(str(number) for number in range(21, 41))},
        by_hand="register at https://drive.grand-challenge.org/ and download DRIVE.zip (or training.zip and test.zip)",
    )


def _chase_db1() -> DataSet:
    records = tuple(
        Record(
            f"{child:02d}{side}",
            f"chase_db1-{child:02d}",
            f"Image_{child:02d}{side}.jpg",
            f"Image_{child:02d}{side}_1stHO.png",
            None,
            f"Image_{child:02d}{side}_2ndHO.png",
        )
        for child in range(1, 15)
        for side in "LR"
    )
    ids = [record.id for record in records]
    return DataSet(
        "chase_db1",
        "CHASE_DB1, 28 photographs of 960x999, both eyes of 14 children, 30 degrees, all drawn twice. M. M. Fraz et "
        "al., An ensemble classification-based approach applied to retinal blood vessel segmentation, IEEE TBME "
        "59(9), 2012. Split 20/8: the first 20 train; 8/20 (Idiap): the last 8 train. Licence CC BY 4.0 as its host "
        "states.",
        ("chasedb1", "chase"),
        records,
        {"20/8": frozenset(ids[:20]), "8/20": frozenset(ids[20:])},
        (Download("CHASEDB1.zip", "https://researchdata.kingston.ac.uk/96/1/CHASEDB1.zip"),),
    )


def _stare() -> DataSet:
    numbers = (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162, 163, 235, 236, 239, 240, 255, 291, 319, 324)
    ids = [f"im{number:04d}" for number in numbers]
    source = "https://cecas.clemson.edu/~ahoover/stare/probing/"
    return DataSet(
        "stare",
        "STARE, 20 photographs of 605x700, 35 degrees, ten of them of diseased eyes, all drawn by A. Hoover (truth) "
        "and V. Kouznetsova. A. Hoover, V. Kouznetsova, M. Goldbaum, Locating blood vessels in retinal images by "
        "piecewise threshold probing of a matched filter response, IEEE TMI 19(3), 2000. Split 10/10 (Idiap): the "
        "first ten by name train. No licence is stated; ask its authors before use beyond research.",
        ("stare", "stareimages", "labelsah", "labelsvk"),
        tuple(
            Record(
                id_,
                f"stare-{id_}",
                f"stare-images/{id_}.ppm",
                f"labels-ah/{id_}.ah.ppm",
                None,
                f"labels-vk/{id_}.vk.ppm",
            )
            for id_ in ids
        ),
        {"10/10": frozenset(ids[:10])},
        tuple(Download(file, source + file) for file in ("stare-images.tar", "labels-ah.tar", "labels-vk.tar")),
    )


def _hrf() -> DataSet:
    records = tuple(
        Record(
            f"{number:02d}_{kind}",
            f"hrf-{number:02d}_{kind}",
            f"images/{number:02d}_{kind}.{'JPG' if kind == 'dr' else 'jpg'}",
            f"manual1/{number:02d}_{kind}.tif",
            f"mask/{number:02d}_{kind}_mask.tif",
        )
        for kind in ("dr", "g", "h")
        for number in range(1, 16)
    )
    return DataSet(
        "hrf",
        "HRF, 45 photographs of 2336x3504, 60 degrees: 15 healthy (h), 15 with diabetic retinopathy (dr), 15 with "
        "glaucoma (g). A. Budai, R. Bock, A. Maier, J. Hornegger, G. Michelson, Robust vessel segmentation in fundus "
        "images, International Journal of Biomedical Imaging, 2013. Split 15/30 (Idiap): 01-05 of each kind train. "
        "Licence CC BY 4.0 as its host states.",
        ("hrf", "all"),
        records,
        {"15/30": frozenset(record.id for record in records if record.id < "06")},
        (
            Download(
                "all.zip",
                "https://www5.cs.fau.de/fileadmin/research/datasets/fundus-images/all.zip",
                "a914d02cda161b7f33f25d0397c276d50e9a6cbc705e9b364a54f0adafed57e4",
            ),
        ),
        unlisted=frozenset([record.fov for record in records] + [f"manual1/{number}_h.tif" for number in (11, 12, 13)]),
    )


def _rbv() -> DataSet:
    def record(subset: str, number: int) -> Record:
        eye = 21 + number // 4 if subset == "train" else number + 1
        files = (f"{subset}/{kind}/{number}.png" for kind in ("image", "mask"))
        return Record(f"{subset}_{number:02d}", f"drive-{eye:02d}", *files)

    train = tuple(record("train", number) for number in range(80))
    return DataSet(
        "rbv",
        "RBV, Retina Blood Vessel, 80 + 20 pictures of 512x512: DRIVE, resized; every training eye comes in four "
        "variants, so its group is the eye of DRIVE. A. Wagih, Kaggle. Reference and licence: see drive.",
        ("rbv", "archive", "retinabloodvessel"),
        train + tuple(record("test", number) for number in range(20)),
        {"80/20": frozenset(record.id for record in train)},
        by_hand="log in at https://www.kaggle.com/datasets/abdallahwagih/retina-blood-vessel and download archive.zip",
    )


PUBLIC = {dataset.name: dataset for dataset in (_drive(), _chase_db1(), _stare(), _hrf(), _rbv())}


def manifest(name: str) -> dict[str, str]:
    """SHA-256 of each file of a public set, by its place in the official layout (below `Data`, for RBV)."""
    lines = (MANIFESTS / f"{name}.sha256").read_text(encoding="utf-8").splitlines()
    return {file.strip().removeprefix("Data/"): digest for digest, file in (line.split(maxsplit=1) for line in lines)}


def subsets(name: str, split: str) -> Subsets:
    """The records of a public set in training and test images; split `all`: every image is a test image."""
    dataset = PUBLIC[name]
    known = {"all": frozenset(), **dataset.splits}
    if split not in known:
        raise ValueError(f"data.splits.{name}: expected one of {', '.join(sorted(known))}, got {split!r}")
    train = tuple(record for record in dataset.records if record.id in known[split])
    return Subsets(train, tuple(record for record in dataset.records if record.id not in known[split]))


def split_groups(groups: Iterable[str], share: float, seed: int) -> frozenset[str]:
    """The groups that are held out: `share` of the different ones, at least one and never all, drawn by `seed`.

    Raises:
        ValueError: there are fewer than two different groups.
    """
    distinct = sorted(set(groups))
    if len(distinct) < 2:
        raise ValueError(f"expected at least two groups (people) to hold some out, got {len(distinct)}")
    count = min(max(round(share * len(distinct)), 1), len(distinct) - 1)
    order = np.random.default_rng(seed).permutation(len(distinct))
    return frozenset(distinct[place] for place in order[:count])


def refuse_shared_groups(train: Iterable[str], test: Iterable[str]) -> None:
    """ValueError where a person would be trained on and tested on."""
    shared = sorted(set(train) & set(test))
    if shared:
        raise ValueError(
            f"data.train, data.test: expected different people, got {len(shared)} on both sides, the first {shared[0]} "
            "(the pictures of rbv are those of drive)"
        )
