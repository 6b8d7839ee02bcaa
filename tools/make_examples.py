"""Write the images of examples/: python -m tools.make_examples. They are synthetic; nobody's eye is shown."""

from pathlib import Path

from PIL import Image

from src.synthetic import generator

FOLDER = Path("examples")
SEED, INDICES = 7, (1, 2)
HEIGHT, WIDTH = 960, 999  # pixels, as CHASE_DB1
QUALITY = 92  # of JPEG


def main() -> None:
    """Write them."""
    for index in INDICES:
        image = generator.generate(SEED, index, HEIGHT, WIDTH).image
        Image.fromarray(image).save(FOLDER / f"synthetic_{index}.jpg", quality=QUALITY)


if __name__ == "__main__":
    main()
