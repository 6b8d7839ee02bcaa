"""Pictures of the documentation: their layout, their size, and that pages show them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tools import check_docs, make_pictures

MAX_BYTES = 300_000


def test_pictures_stand_in_rows_of_two_under_their_names(tmp_path, monkeypatch):
    monkeypatch.setattr(make_pictures, "FOLDER", tmp_path)
    colours = {"red": (255, 0, 0), "gray": 128.0, "blue": (0, 0, 255)}
    shape = {name: (20, 40) if np.isscalar(colour) else (20, 40, 3) for name, colour in colours.items()}
    make_pictures.save({name: np.full(shape[name], colour) for name, colour in colours.items()}, "picture")
    whole = np.asarray(Image.open(tmp_path / "picture.jpg")).astype(int)
    side, row = make_pictures.SIDE, make_pictures.HEAD + make_pictures.SIDE // 2
    assert whole.shape == (2 * row, 2 * side + make_pictures.GAP, 3)
    for middle, colour in (((row - 110, side // 2), (255, 0, 0)), ((row - 110, -side // 2), (128, 128, 128))):
        assert np.abs(whole[middle] - colour).max() < 5
    assert np.abs(whole[2 * row - 110, side // 2] - (0, 0, 255)).max() < 5
    assert whole[: make_pictures.HEAD, :side].min() < 50  # a name


@pytest.mark.parametrize("picture", sorted(make_pictures.FOLDER.iterdir()), ids=lambda path: path.name)
def test_picture_is_small_and_shown(picture: Path):
    assert picture.stat().st_size < MAX_BYTES
    assert any(f"images/{picture.name})" in page.read_text(encoding="utf-8") for page in check_docs.pages())
