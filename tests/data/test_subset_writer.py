from functools import partial

import pytest
from image_file_builders import TEST, custom_folder, put

from src.data import entries, samples, splits, subset_writer

pytestmark = pytest.mark.usefixtures("no_workers")


def as_copy(entry: entries.Entry) -> samples.LabelledImage:
    return entry.load()._replace(id="copy")


def test_subsets_are_written_complete_and_reproducible(tmp_path):
    train, test = entries.synthetic_entries(3, 1, 128, 128, 1)
    for out in (tmp_path / "a", tmp_path / "b"):
        subset_writer.write_subsets(out, {**splits.split_validation(train, 0.4, 1), "test": test})
    first, second = (
        {p.relative_to(o): p.read_bytes() for p in sorted(o.rglob("*.*")) if p.is_file()}
        for o in (tmp_path / "a", tmp_path / "b")
    )
    assert first == second
    assert {path.parts[0] for path in first} == {"train", "validation", "test"}
    assert [len(samples.find(tmp_path / "a" / subset)) for subset in ("train", "validation", "test")] == [
        2,
        1,
        1,
    ]


def test_failure_leaves_nothing_behind(tmp_path):
    root = custom_folder(tmp_path / "own", 2)
    put(root, {"images/p1.jpg": b"broken"})
    with pytest.raises(ValueError, match=r"p1.jpg"):
        subset_writer.write_subsets(
            tmp_path / "out", {"test": entries.custom_entries("folder", root, TEST, 0.5, 1).test}
        )
    assert not (tmp_path / "out").exists()


def test_copy_in_two_subsets_leaves_nothing_behind(tmp_path):
    train, _ = entries.synthetic_entries(2, 0, 128, 128, 1)
    copy = train[0]._replace(id="copy", load=partial(as_copy, train[0]))
    with pytest.raises(ValueError, match=r"^train/phantom/images/0000.png and test/phantom/images/copy.png are copies"):
        subset_writer.write_subsets(tmp_path / "out", {"train": train, "test": [copy]})
    assert not list((tmp_path / "out").iterdir())


def test_no_image_is_held_out_where_the_fraction_is_zero(tmp_path):
    train, test = entries.synthetic_entries(2, 1, 128, 128, 1)
    report = subset_writer.write_subsets(tmp_path, {**splits.split_validation(train, 0, 1), "test": test})
    assert [row[:3] for row in report.rows[1:]] == [("train", "phantom", 2), ("test", "phantom", 1)]
    assert samples.find(tmp_path / "validation", least=0) == []
