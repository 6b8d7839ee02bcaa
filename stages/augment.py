"""Make changed variants of the training patches."""

import os
import sys
from pathlib import Path

from src import augment
from src.cli import run
from src.params import Augment


def main(source: Path, out: Path, size: int, section: Augment, workers: int | None = None) -> None:
    """Write each patch of `source` and its variants to `out`, `size` pixels a side; `workers` None means all cores."""
    limits = augment.Limits(**section.model_dump(include=set(augment.Limits._fields)))
    plan = augment.Plan(limits, size, section.copies, section.seed)
    augment.augment_all(source, out, plan, workers or os.cpu_count() or 1)


if __name__ == "__main__":
    run(lambda params: main(Path(sys.argv[1]), Path(sys.argv[2]), params.patch.size, params.augment))
