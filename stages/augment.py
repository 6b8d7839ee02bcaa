"""Augment the training patches with random transforms."""

from pathlib import Path

from src.common.processor import available_cores
from src.params import Augment
from src.preprocessing.augmentation import AugmentationPlan, augment_all
from src.preprocessing.transforms import TransformLimits
from src.stage_runner import run_stage


def main(patches: Path, out: Path, patch_size: int, augment: Augment, workers: int | None = None) -> None:
    """Write each patch of `patches`, cut to `patch_size`, and its augmented versions to `out`.

    `workers` None means all cores; the bytes do not depend on it.
    """
    limits = TransformLimits(**augment.model_dump(include=set(TransformLimits._fields)))
    plan = AugmentationPlan(limits, patch_size, augment.n_per_patch, augment.seed)
    augment_all(patches, out, plan, workers or available_cores())


if __name__ == "__main__":
    run_stage(main, lambda params: {"patch_size": params.patch.size, "augment": params.augment})
