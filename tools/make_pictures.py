"""Write the pictures of README and tutorials: python -m tools.make_pictures. They are synthetic; nobody's eye is shown.

docs/images gets example.jpg, from the committed run (`dvc checkout` brings it), and prediction.jpg and
prediction_maps.jpg, from the shipped network. Labels stay legible on a phone.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageDraw, ImageFont

from src.common import operating_point
from src.data import samples
from src.inference import predict
from src.reporting import example_figures, overlays

FOLDER = Path("docs/images")
SAMPLE = Path("examples/synthetic_1.jpg")
SIDE, GAP, HEAD, FONT_SIZE = 440, 8, 46, 32  # pixels of a panel, between panels, above them, of the labels
QUALITY = 80  # of JPEG


def main() -> None:
    """Write them."""
    save(median_example(), "example")
    maps = predicted_maps()
    save({name: maps[name] for name in ("image", "vessels")}, "prediction")
    save(maps, "prediction_maps")


def median_example() -> dict[str, np.ndarray]:
    """Read the synthetic test image of median F1, its ground truth, its prediction and the errors of that."""
    table = pd.read_csv("metrics/per_image.csv", dtype={"id": str})
    name = "phantom", example_figures.best_median_worst(table, "phantom")["median"]
    sample = samples.find_by_id(Path("data/raw/test"), [name])[name]
    threshold = operating_point.read_threshold(Path("metrics/validation.json"))
    example = overlays.read(sample, Path("data/predictions"), threshold)
    return {
        "image": example.image,
        "ground truth": example.truth * 255.0,
        "probability": example.probability * 255.0,
        "errors": overlays.overlay(example),
    }


def predicted_maps() -> dict[str, np.ndarray]:
    """Predict the sample image by the shipped network, and read its maps."""
    with tempfile.TemporaryDirectory() as folder:
        if predict.main([str(SAMPLE), "--out", folder]):
            raise RuntimeError(f"{SAMPLE}: expected a prediction")
        paths = [Path(folder, f"{SAMPLE.stem}_{kind}.png") for kind in ("overlay", "probability", "uncertainty")]
        vessels, probability, uncertainty = (np.asarray(Image.open(path)) for path in paths)
    return {
        "image": np.asarray(Image.open(SAMPLE)),
        "vessels": vessels,
        "probability": probability / 257.0,
        "uncertainty, doubled": np.minimum(uncertainty / 257.0 * 2, 255),  # faint on a phone otherwise
    }


def save(pictures: dict[str, np.ndarray], name: str) -> None:
    """Write pictures of one size, gray (H, W) or RGB (H, W, 3) of 0 to 255, in rows of two with their names above."""
    font = ImageFont.load_default(FONT_SIZE)
    height, width = next(iter(pictures.values())).shape[:2]
    panel = SIDE, round(SIDE * height / width)
    rows = -(-len(pictures) // 2)
    whole = Image.new("RGB", (2 * SIDE + GAP, rows * (HEAD + panel[1])), "white")
    draw = ImageDraw.Draw(whole)
    for number, (title, picture) in enumerate(pictures.items()):
        left, top = number % 2 * (SIDE + GAP), number // 2 * (HEAD + panel[1])
        draw.text((left + SIDE / 2, top + HEAD / 2), title, "black", font, anchor="mm")
        small = (
            Image.fromarray(np.rint(picture).astype(np.uint8)).convert("RGB").resize(panel, Image.Resampling.LANCZOS)
        )
        whole.paste(small, (left, top + HEAD))
    whole.save(FOLDER / f"{name}.jpg", quality=QUALITY, optimize=True)


if __name__ == "__main__":
    main()
