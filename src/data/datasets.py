"""Public data sets: reference, licence, official layout and splits, and which images show the same patient."""

from pathlib import Path
from typing import NamedTuple

from src.data.image_files import ImageFiles
from src.data.splits import Subsets

MANIFESTS = Path(__file__).parent / "manifests"


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


def _drive() -> DataSet:
    def record(number: int) -> Record:
        folder, kind = ("training", "training") if number > 20 else ("test", "test")
        second = None if number > 20 else f"test/2nd_manual/{number:02d}_manual2.gif"
        files = ImageFiles(
            f"{folder}/images/{number:02d}_{kind}.tif",
            f"{folder}/1st_manual/{number:02d}_manual1.gif",
            f"{folder}/mask/{number:02d}_{kind}_mask.gif",
            second,
        )
        return Record(f"{number:02d}", f"drive-{number:02d}", files)

    return DataSet(
        "drive",
        "DRIVE, 40 images of 584x565 of 40 patients, 45 degrees, test images annotated twice. J. Staal, M. D. "
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
            ImageFiles(
                f"Image_{child:02d}{side}.jpg",
                f"Image_{child:02d}{side}_1stHO.png",
                second_observer=f"Image_{child:02d}{side}_2ndHO.png",
            ),
        )
        for child in range(1, 15)
        for side in "LR"
    )
    ids = [record.id for record in records]
    return DataSet(
        "chase_db1",
        "CHASE_DB1, 28 images of 960x999, both eyes of 14 children, 30 degrees, all annotated twice. M. M. Fraz et "
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
        "STARE, 20 images of 605x700, 35 degrees, ten of them with pathologies, all annotated by A. Hoover (ground "
        "truth) and V. Kouznetsova. A. Hoover, V. Kouznetsova, M. Goldbaum, Locating blood vessels in retinal images "
        "by piecewise threshold probing of a matched filter response, IEEE TMI 19(3), 2000. Split 10/10 (Idiap): the "
        "first ten by name train. No licence is stated; ask its authors before use beyond research.",
        ("stare", "stareimages", "labelsah", "labelsvk"),
        tuple(
            Record(
                id_,
                f"stare-{id_}",
                ImageFiles(
                    f"stare-images/{id_}.ppm",
                    f"labels-ah/{id_}.ah.ppm",
                    second_observer=f"labels-vk/{id_}.vk.ppm",
                ),
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
            ImageFiles(
                f"images/{number:02d}_{kind}.{'JPG' if kind == 'dr' else 'jpg'}",
                f"manual1/{number:02d}_{kind}.tif",
                f"mask/{number:02d}_{kind}_mask.tif",
            ),
        )
        for kind in ("dr", "g", "h")
        for number in range(1, 16)
    )
    return DataSet(
        "hrf",
        "HRF, 45 images of 2336x3504, 60 degrees: 15 healthy (h), 15 with diabetic retinopathy (dr), 15 with "
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
        unlisted=frozenset(
            [record.files.fov for record in records if record.files.fov]
            + [f"manual1/{number}_h.tif" for number in (11, 12, 13)]
        ),
    )


def _rbv() -> DataSet:
    def record(subset: str, number: int) -> Record:
        drive_number = 21 + number // 4 if subset == "train" else number + 1
        files = ImageFiles(f"{subset}/image/{number}.png", f"{subset}/mask/{number}.png")
        return Record(f"{subset}_{number:02d}", f"drive-{drive_number:02d}", files)

    train = tuple(record("train", number) for number in range(80))
    return DataSet(
        "rbv",
        "RBV, Retina Blood Vessel, 80 + 20 images of 512x512: DRIVE, resized; every training image comes in four "
        "augmented versions, so its group is that of its image in DRIVE. A. Wagih, Kaggle. Reference and licence: see "
        "drive.",
        ("rbv", "archive", "retinabloodvessel"),
        train + tuple(record("test", number) for number in range(20)),
        {"80/20": frozenset(record.id for record in train)},
        by_hand="log in at https://www.kaggle.com/datasets/abdallahwagih/retina-blood-vessel and download archive.zip",
    )


PUBLIC = {dataset.name: dataset for dataset in (_drive(), _chase_db1(), _stare(), _hrf(), _rbv())}


def manifest(name: str) -> dict[str, str]:
    """Read the SHA-256 of each file of a public data set, by its place in the official layout (RBV: below `Data`)."""
    lines = (MANIFESTS / f"{name}.sha256").read_text(encoding="utf-8").splitlines()
    return {file.strip().removeprefix("Data/"): digest for digest, file in (line.split(maxsplit=1) for line in lines)}


def official_split(name: str, split: str) -> Subsets[Record]:
    """Return the training and test images of a public data set; with split `all` every image is a test image."""
    dataset = PUBLIC[name]
    known: dict[str, frozenset[str]] = {"all": frozenset(), **dataset.splits}
    if split not in known:
        raise ValueError(f"data.splits.{name}: expected one of {', '.join(sorted(known))}, got {split!r}")
    train = tuple(record for record in dataset.records if record.id in known[split])
    return Subsets(train, tuple(record for record in dataset.records if record.id not in known[split]))
