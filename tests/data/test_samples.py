import numpy as np
import pytest

from src.data import samples

RNG = np.random.default_rng(1)


def labelled_image(id_: str = "01", second: bool = True) -> samples.LabelledImage:
    shape = (40, 50)
    truth, fov, observed = (RNG.random(shape) < fraction for fraction in (0.1, 0.7, 0.1))
    image = RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)
    return samples.LabelledImage(id_, f"patient-{id_}", image, truth, fov, observed if second else None)


def test_what_is_written_is_read(tmp_path):
    one = labelled_image()
    samples.write_labelled_image(tmp_path, "phantom", one)
    samples.write_table(tmp_path, [("phantom", one.id, one.group)])
    (sample,) = samples.find(tmp_path)
    assert (sample.dataset, sample.id, sample.group) == ("phantom", "01", "patient-01")
    assert np.array_equal(samples.image(sample), one.image)
    assert np.array_equal(samples.truth(sample), one.truth)
    assert np.array_equal(samples.fov(sample), one.fov)
    assert np.array_equal(samples.second_observer(sample), one.second_observer)


def test_no_second_observer_is_none(tmp_path):
    samples.write_labelled_image(tmp_path, "phantom", labelled_image(second=False))
    assert samples.second_observer(samples.Sample("phantom", "01", "g", tmp_path / "phantom")) is None


def test_samples_are_sorted(tmp_path):
    for id_ in ("03", "01", "02"):
        samples.write_labelled_image(tmp_path, "phantom", labelled_image(id_))
    samples.write_table(tmp_path, [("phantom", id_, "g") for id_ in ("03", "01", "02")])
    assert [sample.id for sample in samples.find(tmp_path)] == ["01", "02", "03"]


@pytest.mark.parametrize("kind", ["images", "truth", "fov"])
def test_missing_file_is_named(tmp_path, kind):
    samples.write_labelled_image(tmp_path, "phantom", labelled_image())
    samples.write_table(tmp_path, [("phantom", "01", "g")])
    (tmp_path / "phantom" / kind / "01.png").unlink()
    with pytest.raises(FileNotFoundError, match=f"{kind}/01.png"):
        samples.find(tmp_path)


def test_empty_table_is_rejected_unless_allowed(tmp_path):
    samples.write_table(tmp_path, [])
    assert samples.find(tmp_path, least=0) == []
    with pytest.raises(ValueError, match="at least one sample"):
        samples.find(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        "phantom,01",
        "phantom,01,g,h",
        "phantom,,g",
        "phantom,01,g\x00",
        'phantom,"0\n1",g',
        b"phantom,\xff,g",
        '"' + "x" * 140_000,
    ],
)
def test_broken_row_is_named(tmp_path, row):
    content = row if isinstance(row, bytes) else row.encode()
    (tmp_path / samples.TABLE).write_bytes(b"dataset,id,group\n" + content + b"\n")
    with pytest.raises(
        ValueError, match=r"samples\.csv: expected (dataset, id, group in every row|a text in UTF-8|a table), got"
    ) as caught:
        samples.find(tmp_path)
    assert type(caught.value) is ValueError


def test_pixel_count_is_read_from_the_header(tmp_path):
    samples.write_labelled_image(tmp_path, "phantom", labelled_image())
    sample = samples.Sample("phantom", "01", "g", tmp_path / "phantom")
    assert samples.pixel_count(sample) == 40 * 50
    assert samples.maps_size_bytes([sample, sample]) == 2 * 40 * 50 * samples.PNG_BYTES
    sample.path("images").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"01\.png: expected an image file"):
        samples.pixel_count(sample)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n"])
def test_broken_file_is_named(tmp_path, content):
    path = tmp_path / "01.png"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"01\.png: expected an image file"):
        samples.read_image(path)


def test_probability_is_kept_to_sixteen_bits(tmp_path):
    probability = RNG.random((30, 20)).astype(np.float32)
    probability[0, :2] = 0, 1
    samples.write_probability(tmp_path / "p.png", probability)
    levels = samples.read_levels(tmp_path / "p.png")
    assert levels.dtype == np.uint16
    assert np.abs(levels / 65535 - probability).max() <= 0.51 / 65535


def test_eight_bit_map_is_rejected(tmp_path):
    samples.write_bool(tmp_path / "p.png", np.ones((3, 3), bool))
    with pytest.raises(ValueError, match="16-bit greyscale PNG"):
        samples.read_levels(tmp_path / "p.png")
