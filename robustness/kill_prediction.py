"""Kill `predict` on a folder of mixed files and resume it: python -m robustness.kill_prediction [--images N].

Synthetic images in all formats, one in twenty broken in one of ten ways, are predicted by a command that is killed
half-way and given again. Printed are the rows of predictions.csv by status, and maps that are missing or incomplete.
The exit code is 1 where one is lost, a broken file is not rejected, or resuming predicts a finished image again.
"""

import argparse
import io
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from src.common.csv_journal import Journal
from src.inference import image_predictor, predict_folder
from src.inference.onnx_model import DEFAULT_MODEL
from src.synthetic import generator

BROKEN_FRACTION = 0.05
FOLDERS = 7
IMAGES, SIDE = 10, 200  # different synthetic images, and their height
ROTATED = 6  # EXIF orientation: to be rotated by 90 degrees
POLL_SECONDS = 0.01


def encode(image: np.ndarray, kind: str, **options: Any) -> bytes:
    """Encode an image as a file of one of Pillow's kinds."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **options)
    return content.getvalue()


def encode_deep(image: np.ndarray, suffix: str) -> bytes:
    """Encode an image as a file of 16 bits."""
    return cv2.imencode(suffix, image[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def encode_rotated(image: np.ndarray) -> bytes:
    """Encode an image as a JPEG that lies on its side, with the EXIF orientation that says so."""
    exif = Image.Exif()
    exif[0x0112] = ROTATED
    return encode(np.rot90(image), "JPEG", quality=95, exif=exif)


def overwrite_middle(content: bytes) -> bytes:
    """Overwrite bytes in the middle of a file."""
    middle = len(content) // 2
    return content[:middle] + bytes(200) + content[middle + 200 :]


FORMATS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".png": lambda image: encode(image, "PNG"),
    ".jpg": lambda image: encode(image, "JPEG", quality=95),
    ".tif": lambda image: encode(image, "TIFF"),
    ".ppm": lambda image: encode(image, "PPM"),
    ".16.png": lambda image: encode_deep(image, ".png"),
    ".16.tiff": lambda image: encode_deep(image, ".tiff"),
    ".rotated.jpg": encode_rotated,
}
BROKEN: dict[str, Callable[[np.ndarray], bytes]] = {
    "empty.png": lambda image: b"",
    "text.jpg": lambda image: b"no image",
    "truncated.jpg": lambda image: encode(image, "JPEG")[:-2000],
    "truncated.tif": lambda image: encode(image, "TIFF")[:5000],
    "damaged.png": lambda image: overwrite_middle(encode(image, "PNG")),
    "black.png": lambda image: encode(np.zeros_like(image), "PNG"),
    "blue.png": lambda image: encode(np.ascontiguousarray(image[..., ::-1]), "PNG"),
    "single_colour.png": lambda image: encode(np.full_like(image, 120), "PNG"),
    "tiny.png": lambda image: encode(np.ascontiguousarray(image[::8, ::8]), "PNG"),
    "float.tif": lambda image: encode(image[..., 0].astype(np.float32), "TIFF"),
}


def write_mixed(root: Path, number: int, broken: int) -> None:
    """Write `number` files, `broken` of them broken, in folders with equal names in them."""
    rng = np.random.default_rng(1)
    images = [generator.generate(1, index, SIDE, SIDE - 10).image for index in range(IMAGES)]
    for index in range(number):
        image = np.clip(images[index % IMAGES] * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)
        kinds = BROKEN if index < broken else FORMATS
        suffix = list(kinds)[index % len(kinds)]
        mark = "_" if index < broken else ""
        path = root / f"folder_{index % FOLDERS}" / f"{index // FOLDERS:04d}{mark}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(kinds[suffix](image))


def kill_after(command: list[str], out: Path, rows: int) -> int:
    """Kill the command (SIGKILL) as soon as it has left that many rows; return the number of rows then."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    table, found = out / predict_folder.TABLE, 0
    while found < rows and process.poll() is None:
        time.sleep(POLL_SECONDS)
        found = table.read_bytes().count(b"\n") - 1 if table.exists() else 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    return found


def count_rows(out: Path) -> Counter[str]:
    """Count the rows of each status, and as `lost` the finished ones whose maps are missing or incomplete."""
    found: Counter[str] = Counter()
    for row in Journal(out / predict_folder.TABLE, image_predictor.COLUMNS).rows.values():
        found[row["status"]] += 1
        if row["status"] == image_predictor.DONE:
            job = image_predictor.ImageJob(Path(row["image"]), row["id"], out)
            maps = (cv2.imdecode(np.fromfile(job.path(kind), np.uint8), -1) for kind in image_predictor.MAPS)
            found["lost"] += any(decoded is None for decoded in maps)
    return found


def main() -> None:
    """Predict, kill, resume, resume again."""
    parser = argparse.ArgumentParser(prog="python -m robustness.kill_prediction", description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=200, help="files to predict (default: 200)")
    parser.add_argument("--model", type=Path, default=DEFAULT_MODEL, help="a packaged network")
    arguments = parser.parse_args()
    number, broken = arguments.images, round(BROKEN_FRACTION * arguments.images)
    with tempfile.TemporaryDirectory() as place:
        images, out = Path(place) / "images", Path(place) / "out"
        write_mixed(images, number, broken)
        options = ["--out", str(out), "--model", str(arguments.model)]
        command = [sys.executable, "-m", "src", "predict", str(images), *options]
        begin = time.perf_counter()
        print(f"killed after {kill_after(command, out, number // 2)} rows of {number}")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        rows = count_rows(out)
        print(f"resumed: exit code {done.returncode}, rows {dict(rows)}, {time.perf_counter() - begin:.0f} s in all")
        modified = {path: path.stat().st_mtime_ns for path in out.glob("*.png")}
        again = subprocess.run(command, capture_output=True, text=True, check=False)
        repeated = sum(path.stat().st_mtime_ns != moment for path, moment in modified.items())
        print(f"once more: exit code {again.returncode}, {repeated} maps written again")
    expected = {image_predictor.DONE: number - broken, image_predictor.REJECTED: broken}
    sys.exit(+rows != Counter(expected) or repeated > 0)


if __name__ == "__main__":
    main()
