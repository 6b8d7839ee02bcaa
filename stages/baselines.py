"""Stage baselines: segment the test images by classical vesselness filters, for comparison with the network."""

import json
import shutil
from pathlib import Path

from src.common import atomic_io
from src.data import samples
from src.evaluation import filter_dataset
from src.params import Baselines, Preprocess
from src.stage_runner import run_stage


def main(train: Path, test: Path, out: Path, baselines: Baselines, preprocess: Preprocess) -> None:
    """Write each filter's maps of `test`, and its threshold of best F1 on `train`, to `out`: all or nothing."""
    atomic_io.check_free_space(out, len(baselines.filters) * samples.maps_size_bytes(samples.find(test)))
    settings = baselines.filters, preprocess.fov_diameter, preprocess.clahe_clip_limit
    part = out.with_name(f"{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        thresholds = filter_dataset.choose_thresholds(train, *settings)
        for sample, maps in filter_dataset.filter_subset(test, *settings):
            for name, vessel_map in maps.items():
                samples.write_probability(part / name / sample.dataset / f"{sample.id}.png", vessel_map)
        atomic_io.write_text(part / "thresholds.json", json.dumps(thresholds, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(out, ignore_errors=True)
        atomic_io.atomic_rename(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


if __name__ == "__main__":
    run_stage(main, lambda params: {"baselines": params.baselines, "preprocess": params.preprocess})
