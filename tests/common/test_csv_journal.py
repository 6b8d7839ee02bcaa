import csv

import pytest

from src.common.csv_journal import Journal

COLUMNS = ("image", "status", "reason")


def row(image: str, status: str, reason: str = "") -> dict[str, str]:
    return {"image": image, "status": status, "reason": reason}


@pytest.fixture
def path(tmp_path):
    journal = Journal(tmp_path / "predictions.csv", COLUMNS)
    for each in (row("b", "begun"), row("a", "rejected", 'broken, "very",\nindeed'), row("b", "done")):
        journal.add(each)
    return journal.path


def test_the_last_row_of_a_key_counts(path):
    journal = Journal(path, COLUMNS)
    assert journal.rows == {"a": row("a", "rejected", 'broken, "very",\nindeed'), "b": row("b", "done")}


def test_compacted_file_has_each_key_once_sorted(path):
    Journal(path, COLUMNS)
    with path.open(newline="") as file:
        assert list(csv.reader(file)) == [
            list(COLUMNS),
            ["a", "rejected", 'broken, "very",\nindeed'],
            ["b", "done", ""],
        ]


def test_writer_killed_anywhere_leaves_complete_rows(path):
    content = path.read_bytes()
    complete = [row("b", "begun"), row("a", "rejected", 'broken, "very",\nindeed'), row("b", "done")]
    for end in range(len(content) + 1):
        path.write_bytes(content[:end])
        if end <= len(",".join(COLUMNS)):
            continue
        journal = Journal(path, COLUMNS)
        assert all(each in complete for each in journal.rows.values())
        journal.add(row("c", "done"))
        assert Journal(path, COLUMNS).rows["c"] == row("c", "done")


@pytest.mark.parametrize("key", ["a\rb.png", "a\nb.png", 'a"b,c.png'])
def test_key_with_any_character_is_kept(tmp_path, key):
    Journal(tmp_path / "new.csv", COLUMNS).add(row(key, "done"))
    assert Journal(tmp_path / "new.csv", COLUMNS).rows == {key: row(key, "done")}


def test_key_of_any_bytes_is_kept(path):
    journal = Journal(path, COLUMNS)
    journal.add(row("eye_\udcff", "done"))
    assert "eye_\udcff" in Journal(path, COLUMNS).rows


@pytest.mark.parametrize("content", ["", "image,status\n", "something else"])
def test_another_table_is_rejected(tmp_path, content):
    (tmp_path / "predictions.csv").write_text(content)
    with pytest.raises(ValueError, match=r"predictions\.csv: expected the columns image, status, reason, got"):
        Journal(tmp_path / "predictions.csv", COLUMNS)
