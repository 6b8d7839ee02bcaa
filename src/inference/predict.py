"""Predict the vessels of images: `python -m src predict`."""

import argparse
import sys
from collections.abc import Sequence

import filelock

from src.common.command_line import INTERRUPTED, command_parser, field_angle, open_fraction, positive_integer, user_path
from src.common.signals import graceful_stop
from src.inference.input_files import InputFiles, find_images
from src.inference.onnx_model import DEFAULT_MODEL
from src.inference.predict_folder import TABLE, PredictOptions, load_predictor, predict_folder

DESCRIPTION = """
Segment the retinal vessels of colour fundus images. For research, not for diagnosis.

For each image the output folder gets:

  ID_probability.png  probability of vessel, 16 bit: 65535 is 1
  ID_uncertainty.png  uncertainty of the probability, 16 bit: 65535 is 1 (only with --tta)
  ID_vessels.png      vessels: where the probability exceeds the threshold, 0 or 255
  ID_overlay.png      the image with its vessels tinted
  predictions.csv     a row with status, vascular biomarkers and quality flags

ID is the name of the image file; names that differ only by folder or suffix get a hash. EXIF orientation is applied.
PNG, JPEG, TIFF, PPM, BMP, GIF, WebP and JPEG 2000 files of 8 or 16 bits are read, and DICOM files of modality OP where
pydicom is installed. The field of view is the opaque part where there is an alpha channel; else it is detected.

In folders, other files are counted on stderr, and the first are named. Hidden files and leftovers of systems (@eaDir,
__MACOSX) are left out.

The same command resumes after a stop, and takes in images that were added. An image is predicted again only when its
file, the model or an option has changed, or a map is missing. An image counts by its full path: after a move or rename
it is predicted again; use a new --out then. Rows and maps of deleted images stay.
"""
EXIT_CODES = {
    0: "all images are predicted",
    1: "images were rejected: each is named on stderr with the reason, and in predictions.csv unless its earlier "
    "results stay",
    2: "invalid arguments, or images, model or output folder cannot be used",
    INTERRUPTED: "interrupted by Ctrl-C or SIGTERM",
}
EXAMPLES = (
    "images/ --out maps",
    "images/ 'more/*.jpg' --out maps --no-tta --threshold 0.4",
    "images/ --out maps --model models/synthetic_pretrained.onnx",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Predict the images that the command line names; returns the exit code."""
    parser = command_parser("predict", DESCRIPTION, EXIT_CODES, EXAMPLES)
    add_prediction_arguments(parser)
    parser.add_argument("--threads", type=positive_integer, default=2, metavar="N", help="CPU threads")
    given = parser.parse_args(arguments)
    options = PredictOptions(given.model, given.threads, given.tta, given.field_angle, given.threshold)
    try:
        load_predictor(options)  # an invalid model is rejected first
        files = find_images(given.images, given.out)
        print_messages(files)
        with graceful_stop():
            outcome = predict_folder(given.out, files.images, options)
    except filelock.Timeout:
        parser.error(f"{given.out}: another prediction writes to this folder")
    except (ValueError, OSError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        print("stopped; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    print(f"{outcome}{summary(files)}: {given.out / TABLE}")
    return 1 if outcome.rejected else 0


def print_messages(files: InputFiles) -> None:
    """Say on stderr what was found in folders and is not predicted."""
    for message in files.messages():
        print(message, file=sys.stderr)


def summary(files: InputFiles) -> str:
    """Return the end of the summary: what was not read, if anything."""
    return f", {files.other_kinds()} not read" if files.other else ""


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that names the network."""
    parser.add_argument(
        "--model",
        type=user_path,
        default=DEFAULT_MODEL,
        metavar="FILE",
        help="network, a file of `python -m src package` (default: models/compact.onnx of the project)",
    )


def add_field_angle_argument(parser: argparse.ArgumentParser) -> None:
    """Add the argument that tells the angle of view of the camera."""
    parser.add_argument(
        "--field-angle",
        type=field_angle,
        metavar="DEGREES",
        help="angle of view of the camera, 20 to 60, if known: a wider field is predicted at a larger size (default: "
        "as if it were 45). It is meant for networks of several cameras, such as the shipped one",
    )


def add_prediction_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that `predict` and `predict-batch` share."""
    parser.add_argument(
        "images", nargs="+", metavar="IMAGES", help="files, folders (with all below them) or quoted patterns"
    )
    parser.add_argument("--out", type=user_path, required=True, metavar="DIR", help="output folder")
    add_model_argument(parser)
    parser.add_argument(
        "--tta",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="test-time augmentation: average over the flips and sizes of the image that the model was packed with, "
        "which also yields the uncertainty; --no-tta predicts once, three to seven times as fast with the shipped "
        "network, and removes the uncertainty maps of an earlier run",
    )
    add_field_angle_argument(parser)
    parser.add_argument(
        "--threshold",
        type=open_fraction,
        metavar="P",
        help="probability above which a pixel is vessel (default: the model's own); hysteresis, if any, acts there",
    )
