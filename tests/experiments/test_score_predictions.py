import pytest

from experiments import score_predictions
from src.data import samples
from src.synthetic import generator


def test_all_images_of_a_folder_are_found(tmp_path):
    for number in range(3):
        image = generator.generate(1, number, 128, 128)
        samples.write_image(tmp_path / "images" / f"{number}.png", image.image)
        samples.write_bool(tmp_path / "truth" / f"{number}.png", image.truth)
    found = score_predictions.find_images(str(tmp_path))
    assert [entry.id for entry in found] == ["0", "1", "2"]
    assert found[0].load().truth.any()


def test_missing_folder_is_named():
    with pytest.raises(FileNotFoundError, match="clinic: expected a folder, or one of drive, "):
        score_predictions.find_images("clinic")
