"""Filter the test photographs by classical means, the baselines of the network."""

import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src import baselines, files, metrics, samples
from src.cli import run
from src.params import Baselines, Preprocess


def main(train: Path, test: Path, out: Path, section: Baselines, preparation: Preprocess) -> None:
    """Write each filter's maps of `test`, and its threshold of best F1 on `train`, to `out`: all or nothing."""
    files.refuse_lack_of_space(out, len(section.filters) * samples.map_bytes(samples.find(test)))
    part, thresholds = out.with_name(f"{out.name}.part"), {}
    shutil.rmtree(part, ignore_errors=True)
    try:
        for name in section.filters:
            total = metrics.EMPTY
            for sample, answer in maps(train, name, preparation):
                total += metrics.histogram(samples.to_levels(answer), samples.truth(sample), samples.fov(sample))
            thresholds[name] = round(metrics.best_threshold(total), 6)
            for sample, answer in maps(test, name, preparation):
                samples.write_probability(part / name / sample.dataset / f"{sample.id}.png", answer)
        files.write_text(part / "thresholds.json", json.dumps(thresholds, indent=2, sort_keys=True) + "\n")
        shutil.rmtree(out, ignore_errors=True)
        files.publish(part, out)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def maps(root: Path, name: str, preparation: Preprocess) -> Iterator[tuple[samples.Sample, np.ndarray]]:
    """Each sample below `root`, in order, with the filter's map; on all cores (NumPy lets other threads run)."""

    def work(sample: samples.Sample) -> tuple[samples.Sample, np.ndarray]:
        image, fov = samples.image(sample), samples.fov(sample)
        return sample, baselines.vessel_map(name, image, fov, preparation.fov_diameter, preparation.clahe)

    found = samples.find(root)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    pool, waiting = ThreadPoolExecutor(cores), deque()
    try:
        for sample in tqdm(found, f"{name} {root.name}", unit="image"):
            waiting.append(pool.submit(work, sample))
            if len(waiting) > cores:  # more would fill the memory where maps are made faster than they are written
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:4]), params.baselines, params.preprocess))
