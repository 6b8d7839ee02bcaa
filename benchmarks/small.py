"""A tiny project, for the benchmarks that break the pipeline."""

from pathlib import Path

import yaml

SETTINGS = {
    "phantom": {"train": 5, "test": 2, "height": 150, "width": 140},
    "preprocess": {"fov_diameter": 130},
    "patch": {"size": 64, "stride": 48, "context": 2.0},
    "augment": {"copies": 1},
    "model": {"architecture": "residual_unet", "filters": [4, 8]},
    "train": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2},
    "evaluate": {"tile": 96, "overlap": 32},
    "plot": {"dpi": 50, "zoom": 32},
}


def write_params(path: Path, *changes: dict[str, dict]) -> None:
    """Write the project's params.yaml to `path`, changed section by section; later changes win."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for sections in changes:
        for section, changed in sections.items():
            values[section] |= changed
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
