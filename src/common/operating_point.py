"""Operating point of a run: the threshold that was chosen on its validation images, read from `validation.json`."""

from pathlib import Path

from src.common import atomic_io


def read_threshold(validation: Path) -> float:
    """Read the threshold, in [0, 1], from the file `validation.json` that stage evaluate wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds no threshold; the message begins with the path.
    """
    section = atomic_io.read_json(validation).get("validation")
    value = section.get("threshold") if isinstance(section, dict) else None
    return atomic_io.parse_fraction(value, f"{validation}: validation.threshold")
