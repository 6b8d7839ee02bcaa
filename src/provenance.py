"""What a run was made with and what it left: versions of packages, names of its tables, their SHA-256."""

import hashlib
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = (
    *("tensorflow", "tf_keras", "segmentation-models", "numpy", "opencv-python-headless", "scipy", "scikit-image"),
    *("dvc", "mlflow"),
)
TABLES = (
    *("scores.json", "per_image.csv", "summary.csv", "differences.csv", "curves.csv", "reliability.csv"),
    *("doubt.csv", "training.csv", "audit.csv", "validation.json"),
)


def versions() -> dict[str, str]:
    """The versions of Python and of the packages, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
