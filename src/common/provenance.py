"""Provenance of a run: the versions of its packages and the names of its result tables."""

import platform
from importlib.metadata import version

PACKAGES = (
    *("tensorflow", "tf_keras", "segmentation-models", "numpy", "opencv-python-headless", "scipy", "scikit-image"),
    *("dvc", "mlflow"),
)
RESULT_TABLES = (
    *("scores.json", "per_image.csv", "summary.csv", "differences.csv", "curves.csv", "reliability.csv"),
    *("uncertainty.csv", "training.csv", "audit.csv", "validation.json"),
)


def versions() -> dict[str, str]:
    """Return the versions of Python and of `PACKAGES`, by name."""
    return {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
