"""The public data sets: reference, licence, official layout and splits, and which images show the same patient."""

from src.data.dataset_types import DataSet, Download, Record
from src.data.image_files import ImageFiles


def drive() -> DataSet:
    """Return the data set `drive`."""

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


def chase_db1() -> DataSet:
    """Return the data set `chase_db1`."""
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


def stare() -> DataSet:
    """Return the data set `stare`."""
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


def hrf() -> DataSet:
    """Return the data set `hrf`."""
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


def rbv() -> DataSet:
    """Return the data set `rbv`."""

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


def dr_hagis() -> DataSet:
    """Return the data set `dr_hagis`; its images 24 and 32 are one file."""

    def record(number: int) -> Record:
        files = ImageFiles(
            f"Fundus_Images/{number}.jpg",
            f"Manual_Segmentations/{number}_manual_orig.png",
            f"Mask_images/{number}_mask_orig.png",
        )
        return Record(f"{number:02d}", f"dr_hagis-{24 if number == 32 else number:02d}", files)

    return DataSet(
        "dr_hagis",
        "DR HAGIS, 40 images of 39 diabetic patients (24 and 32 are the same file), 1880x2816 to 3168x4752, 45 "
        "degrees: ten each with glaucoma, hypertension, diabetic retinopathy and age-related macular degeneration. S. "
        "Holm, G. Russell, V. Nourrit, N. McLoughlin, DR HAGIS: a fundus image database for the automatic extraction "
        "of retinal surface vessels from diabetic patients, Journal of Medical Imaging 4(1), 2017. Split 20/20: the "
        "first 20 train. No licence is known; ask its authors before use beyond research.",
        ("drhagis",),
        tuple(map(record, range(1, 41))),
        {"20/20": frozenset(f"{number:02d}" for number in range(1, 21))},
        by_hand="get DRHAGIS.zip from its authors (University of Manchester; a copy is said to be at "
        "https://zenodo.org/records/10847157)",
    )


def les_av() -> DataSet:
    """Return the data set `les_av`, without its maps of arteries and veins."""
    numbers = (12, 15, 33, 34, 37, 42, 49, 53, 90, 111, 119, 224, 240, 275, 279, 304, 318, 367, 370, 486, 529, 586)

    def record(number: int) -> Record:
        files = ImageFiles(f"images/{number}.png", f"vessel-segmentations/{number}.png", f"masks/{number}_mask.gif")
        return Record(f"{number:03d}", f"les_av-{number:03d}", files)

    records = tuple(map(record, numbers))
    return DataSet(
        "les_av",
        "LES-AV, 22 images of 22 patients, 11 of them with glaucoma, 1444x1620, 30 degrees (one 1958x2196, 45 "
        "degrees). J. I. Orlando, J. Barbosa Breda, K. van Keer, M. B. Blaschko, P. J. Blanco, C. A. Bulant, Towards "
        "a glaucoma risk index based on simulated hemodynamics from fundus images, MICCAI 2018. Split 11/11: the "
        "first 11 by number train. Licence: scientific use only, commercial use is forbidden.",
        ("lesav", "lesavdataset"),
        records,
        {"11/11": frozenset(record.id for record in records[:11])},
        by_hand="download LES-AV.zip from https://figshare.com/articles/dataset/LES-AV_dataset/11857698",
    )


def fives() -> DataSet:
    """Return the data set `fives`, of whose files no official hash is known."""

    def record(subset: str, number: int, per_kind: int) -> Record:
        kind = "ADGN"[(number - 1) // per_kind]
        file = f"{number}_{kind}.png"
        files = ImageFiles(f"{subset}/Original/{file}", f"{subset}/Ground truth/{file}")
        id_ = f"{subset}_{number:03d}_{kind}"
        return Record(id_, f"fives-{id_}", files)

    train = tuple(record("train", number, 150) for number in range(1, 601))
    records = train + tuple(record("test", number, 50) for number in range(1, 201))
    return DataSet(
        "fives",
        "FIVES, 800 images of 2048x2048, 50 degrees: 200 each with age-related macular degeneration (A), diabetic "
        "retinopathy (D), glaucoma (G) and none of them (N). K. Jin, X. Huang, J. Zhou et al., FIVES: a fundus image "
        "dataset for artificial intelligence based vessel segmentation, Scientific Data 9, 2022. Licence CC BY 4.0 as "
        "its host states.",
        ("fives", "fivesafundusimagedatasetforaibasedvesselsegmentation"),
        records,
        {"600/200": frozenset(record.id for record in train)},
        by_hand="download the .rar from https://doi.org/10.6084/m9.figshare.19688169, unpack it to a folder FIVES",
        unlisted=frozenset(place for record in records for place in record.files.present()),
    )
