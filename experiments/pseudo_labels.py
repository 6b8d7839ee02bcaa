"""Label unlabelled images with the vessels that a network finds, for self-training (pseudo-labels: D.-H. Lee, 2013)."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data import input_validation, samples
from src.data.samples import LabelledImage
from src.inference import input_files

FindVessels = Callable[[np.ndarray, np.ndarray], np.ndarray]  # image (H, W, 3) and FOV (H, W) to vessels (H, W)


def write_pseudo_labels(root: Path, name: str, files: list[Path], find_vessels: FindVessels) -> None:
    """Write images with the vessels that are found in them to root/name, a subset of one data set (see `samples`).

    Raises:
        ValueError: a file is no fundus image.
    """
    ids = input_files.assign_ids(files, {})
    for file in tqdm(files, f"label {name}", unit="image"):
        read = input_validation.read_fundus(file.read_bytes(), str(file))
        vessels = find_vessels(read.image, read.fov)
        labelled = LabelledImage(ids[file], ids[file], read.image, vessels & read.fov, read.fov, None)
        samples.write_labelled_image(root, name, labelled)
    samples.write_table(root, [(name, id_, id_) for id_ in ids.values()])
