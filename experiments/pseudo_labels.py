"""Label unlabelled images with a network: python -m experiments.pseudo_labels OUT IMAGES ... [--model FILE].

IMAGES are files, folders or patterns, as for `python -m src predict`. OUT/NAME (--name) becomes a custom data set with
folders images, truth and fov, whose truth is the vessels that the network finds. Self-training is a training on it
beside labelled images (`data.custom`): by pseudo-labels (D.-H. Lee, 2013), a network learns how another camera sees.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tqdm import tqdm

from src.data import input_validation, samples
from src.data.samples import LabelledImage
from src.inference import input_files
from src.inference.onnx_model import DEFAULT_MODEL, OnnxModel

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


def main() -> None:
    """Write the data set."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pseudo_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("images", nargs="+", metavar="IMAGES")
    parser.add_argument("--name", default="unlabelled", help="of the data set (default: unlabelled)")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="ONNX file (default: the shipped one)")
    parser.add_argument("--threads", type=int, default=2, help="default: 2")
    arguments = parser.parse_args()
    network = OnnxModel(arguments.model, arguments.threads)

    def find_vessels(image: np.ndarray, fov: np.ndarray) -> np.ndarray:
        return network.binarize(network.predict(image, fov, tta=True).probability)

    files = input_files.find_images(arguments.images, arguments.out).images
    write_pseudo_labels(arguments.out, arguments.name, files, find_vessels)


if __name__ == "__main__":
    main()
