"""Maps of the classical filters for all images of a subset (train or test), and the threshold of each filter."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.common import probability_levels
from src.common.processor import available_cores
from src.data import samples
from src.evaluation import vesselness_filters
from src.metrics import probability_metrics

FilteredSample = tuple[samples.Sample, dict[str, np.ndarray]]
THRESHOLD_DIGITS = 6


def filter_subset(
    root: Path, names: Sequence[str], fov_diameter: int, clahe_clip_limit: float
) -> Iterator[FilteredSample]:
    """Yield each sample below `root`, in order, with the maps of the filters; see `vesselness_filters.vessel_maps`.

    It uses all cores by threads: NumPy, SciPy and OpenCV let other threads run.
    """

    def work(sample: samples.Sample) -> FilteredSample:
        image, fov = samples.image(sample), samples.fov(sample)
        return sample, vesselness_filters.vessel_maps(names, image, fov, fov_diameter, clahe_clip_limit)

    cores = available_cores()
    pool, waiting = ThreadPoolExecutor(cores), deque[Future[FilteredSample]]()
    try:
        for sample in tqdm(samples.find(root) if names else [], f"filter {root.name}", unit="image"):
            waiting.append(pool.submit(work, sample))
            if len(waiting) > cores:  # bounds the memory where maps are made faster than they are written
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def choose_thresholds(root: Path, names: Sequence[str], fov_diameter: int, clahe_clip_limit: float) -> dict[str, float]:
    """Choose the threshold of each filter by best F1, pooled over the FOV of all images below `root`.

    Raises:
        ValueError: no image has a vessel.
    """
    pooled = dict.fromkeys(names, probability_metrics.EMPTY)
    for sample, maps in filter_subset(root, names, fov_diameter, clahe_clip_limit):
        truth, fov = samples.truth(sample), samples.fov(sample)
        for name, vessel_map in maps.items():
            pooled[name] += probability_metrics.histogram(probability_levels.to_levels(vessel_map), truth, fov)
    return {name: round(probability_metrics.best_threshold(h), THRESHOLD_DIGITS) for name, h in pooled.items()}
