import re
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest

from src.common import atomic_io
from src.data import audit, samples
from src.data.samples import LabelledImage
from src.synthetic import generator


def disc(radius: float, size: tuple[int, int] = (100, 100)) -> np.ndarray:
    y, x = np.ogrid[: size[0], : size[1]]
    return np.hypot(y - 50, x - 50) < radius


def labelled(number: int, size: tuple[int, int] = (100, 100), vessels: int = 6) -> LabelledImage:
    """Noise, another for each number, in a disc of radius 40, with `vessels` dark rows of 60 pixels in the truth."""
    rng = np.random.default_rng(number)
    grey = cv2.GaussianBlur(rng.integers(80, 220, size, np.uint8), (0, 0), 1)
    truth = np.zeros(size, bool)
    truth[rng.choice(np.arange(20, 80, 3), vessels, replace=False), 20:80] = True
    image = np.repeat((grey - 50 * truth.astype(np.uint8))[..., None], 3, axis=2)
    field = disc(40, size)
    return LabelledImage(str(number), f"patient {number}", image * field[..., None], truth, field, None)


def put(root: Path, **subsets: list[LabelledImage] | dict[str, list[LabelledImage]]) -> Path:
    """Write the images of each subset, or of each data set of each subset, below `root`."""
    for subset, part in subsets.items():
        sets = part if isinstance(part, dict) else {"folder": part}
        rows = [(dataset, one) for dataset, images in sets.items() for one in images]
        for dataset, one in rows:
            samples.write_labelled_image(root / subset, dataset, one)
        samples.write_table(root / subset, [(dataset, one.id, one.group) for dataset, one in rows])
    return root


def test_table_has_a_row_for_each_subset_and_data_set(tmp_path):
    train, test = {"hrf": [labelled(1)], "folder": [labelled(1 + n) for n in (1, 2)]}, {"hrf": [labelled(4)]}
    put(tmp_path, train=train, test=test)
    assert [row[:4] for row in audit.audit_subsets(tmp_path, ("train", "test")).rows] == [
        ("subset", "dataset", "images", "groups"),
        ("train", "folder", 2, 2),
        ("train", "hrf", 1, 1),
        ("test", "hrf", 1, 1),
    ]


def test_table_is_as_counted_by_hand(tmp_path):
    first = labelled(1, vessels=5)._replace(group="a", second_observer=labelled(1).truth)
    second = labelled(2, size=(100, 200), vessels=8)._replace(group="a")
    header, row = audit.audit_subsets(put(tmp_path, train=[first, second]), ["train"]).rows
    pixels = int(disc(40).sum())
    assert dict(zip(header, row, strict=True)) == {
        "subset": "train",
        "dataset": "folder",
        "images": 2,
        "groups": 1,
        "second_observers": 1,
        "smallest": "100x100",
        "largest": "200x100",
        "vessel_fraction_mean": "0.027000",
        "vessel_fraction_min": "0.024000",  # 8 * 60 of 20,000
        "vessel_fraction_max": "0.030000",  # 5 * 60 of 10,000
        "fov_fraction_mean": f"{1.5 * pixels / 20_000:.6f}",
        "fov_fraction_min": f"{pixels / 20_000:.6f}",
        "fov_fraction_max": f"{pixels / 10_000:.6f}",
    }


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"truth": np.zeros((100, 100), bool)}, "test/folder/truth/1.png: expected vessels in 1% to 25% .*, got 0.00%"),
        ({"truth": disc(29), "fov": disc(48)}, "test/folder/truth/1.png: expected vessels in .*, got 26.17%"),
        ({"fov": disc(30)}, "test/folder/fov/1.png: expected a field of view in 30% to 100% .*, got 28"),
    ],
)
def test_implausible_fraction_is_a_warning_not_an_error(tmp_path, change, warning):
    put(tmp_path, test=[labelled(1)._replace(**change), labelled(2)])
    warnings = audit.audit_subsets(tmp_path, ["test"]).warnings
    (found,) = [message for message in warnings if "dark in the image" not in message]
    assert re.match(warning, found)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda truth: np.roll(truth, (8, -10), (0, 1)), r"fits better \+10 pixels to the right and -8 down"),
        (lambda truth: truth[::-1], r"fits nowhere nearby \(flipped"),
        (lambda truth: truth[:, ::-1], r"fits nowhere nearby \(flipped"),
    ],
)
def test_misaligned_truth_is_a_warning_with_its_name(tmp_path, change, message):
    one = LabelledImage("1", "1", *generator.generate(1, 0, 300, 320), None)
    put(tmp_path, train=[one._replace(truth=np.ascontiguousarray(change(one.truth)))])
    (warning,) = audit.audit_subsets(tmp_path, ["train"]).warnings
    expected = r"train/folder/truth/1\.png: expected an annotation of vessels, .* got one that "
    assert re.match(expected + message, warning)


def test_synthetic_images_are_plausible(tmp_path):
    images = [LabelledImage(str(n), str(n), *generator.generate(1, n, 120, 128), None) for n in range(4)]
    put(tmp_path, train=images[:2], validation=images[2:3], test=images[3:])
    assert not audit.audit_subsets(tmp_path, ("train", "validation", "test")).warnings


def grey(top: int, bottom: int = 0) -> np.ndarray:
    return np.repeat(np.repeat([[top], [bottom]], 50, axis=0), 100, axis=1).astype(np.uint8)


@pytest.mark.parametrize(
    ("kind", "levels", "error"),
    [
        ("truth", grey(0), "expected vessels to learn from, got an empty annotation"),
        ("truth", grey(255, 255), r"expected vessels in at most 50% of the field of view, got 100% \(inverted"),
        (
            "fov",
            ~disc(40) * np.uint8(255),
            r"expected at least 10% of the vessels in the field of view, got .* \(field of view inverted",
        ),
    ],
)
def test_annotation_that_is_empty_or_inverted_is_rejected_by_name(tmp_path, kind, levels, error):
    put(tmp_path, train=[labelled(1), labelled(2)])
    atomic_io.write_bytes(tmp_path / "train" / "folder" / kind / "2.png", cv2.imencode(".png", levels)[1].tobytes())
    with pytest.raises(ValueError, match=rf"^train/folder/truth/2.png: {error}"):
        audit.audit_subsets(tmp_path, ["train"])


def test_truth_without_vessels_is_allowed_where_nothing_is_learnt(tmp_path):
    put(tmp_path, test=[labelled(1, vessels=0)])
    audit.audit_subsets(tmp_path, ["test"])


def test_truth_without_vessels_is_rejected_where_the_threshold_is_chosen(tmp_path):
    put(tmp_path, validation=[labelled(1, vessels=0)])
    with pytest.raises(ValueError, match=r"^validation/folder/truth/1.png: expected vessels to learn from"):
        audit.audit_subsets(tmp_path, ["validation"])


def test_same_id_in_two_data_sets_is_allowed(tmp_path):
    put(tmp_path, train={"hrf": [labelled(1)]}, test={"folder": [labelled(2)._replace(id="1")]})
    audit.audit_subsets(tmp_path, ("train", "test"))


def flipped(one: LabelledImage, id_: str) -> LabelledImage:
    return one._replace(id=id_, image=np.ascontiguousarray(one.image[:, ::-1]), fov=one.fov[:, ::-1])


@pytest.mark.parametrize("pair", list(combinations(("train", "validation", "test"), 2)))
def test_copy_in_two_subsets_is_named(tmp_path, pair):
    subsets = {subset: [labelled(n)] for n, subset in enumerate(("train", "validation", "test"))}
    subsets[pair[1]] = [*subsets[pair[1]], flipped(subsets[pair[0]][0], "copy")]
    id_ = subsets[pair[0]][0].id
    names = rf"{pair[0]}/folder/images/{id_}.png and {pair[1]}/folder/images/copy.png"
    error = rf"^{names} are copies of one image .*; 1 such pair"
    with pytest.raises(ValueError, match=error):
        audit.audit_subsets(put(tmp_path, **subsets), subsets)


def test_leak_between_data_sets_is_named(tmp_path):
    put(tmp_path, train={"hrf": [labelled(1)]}, test={"folder": [flipped(labelled(1), "mine")]})
    names = "train/hrf/images/1.png and test/folder/images/mine.png"
    with pytest.raises(ValueError, match=f"^{names} are copies of one image"):
        audit.audit_subsets(tmp_path, ("train", "test"))


def test_copies_within_a_subset_are_allowed(tmp_path):
    put(tmp_path, train=[labelled(1), flipped(labelled(1), "copy")], test=[labelled(2)])
    audit.audit_subsets(tmp_path, ("train", "test"))


def test_of_many_leaks_a_few_are_named_and_all_counted(tmp_path):
    images = [labelled(n) for n in range(audit.MAX_PAIRS_NAMED + 2)]
    put(tmp_path, train=images, test=[flipped(one, f"copy{one.id}") for one in images])
    with pytest.raises(ValueError, match=f"; {audit.MAX_PAIRS_NAMED + 2} such pair") as caught:
        audit.audit_subsets(tmp_path, ("train", "test"))
    assert str(caught.value).count("are copies of one image") == audit.MAX_PAIRS_NAMED
