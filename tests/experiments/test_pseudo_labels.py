import numpy as np
import pytest

from experiments.pseudo_labels import write_pseudo_labels
from src.data import custom_dataset, samples
from src.synthetic import generator


def bright(image, fov):
    return image[..., 1] > 100


@pytest.fixture
def images(tmp_path):
    files = [tmp_path / "images" / f"{name}.png" for name in ("a", "b")]
    for number, file in enumerate(files):
        samples.write_image(file, generator.generate(1, number, 128, 128).image)
    return files


def test_labelled_images_are_a_subset_and_a_custom_data_set(images, tmp_path):
    write_pseudo_labels(tmp_path / "out", "clinic", images, bright)
    found = samples.find(tmp_path / "out")
    assert [(sample.dataset, sample.id, sample.group) for sample in found] == [("clinic", id_, id_) for id_ in "ab"]
    for file, sample in zip(images, found, strict=True):
        image, fov = samples.read_image(file), samples.fov(sample)
        assert np.array_equal(samples.image(sample), image)
        assert np.array_equal(samples.truth(sample), bright(image, fov) & fov)
        assert samples.truth(sample).any()
        assert not fov.all()
    assert [image.id for image in custom_dataset.find("clinic", tmp_path / "out" / "clinic")] == ["a", "b"]


def test_file_that_is_no_fundus_image_is_named(images, tmp_path):
    images[1].write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"b\.png"):
        write_pseudo_labels(tmp_path / "out", "clinic", images, bright)
    assert not (tmp_path / "out" / samples.TABLE).exists()
