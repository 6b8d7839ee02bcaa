"""Print start-up, seconds an image, peak memory, and ONNX against Keras: python -m benchmarks.prediction.

The network is data/model/model.h5 where there is one, else that of params.yaml, untrained; or a packed one that is
named, such as models/compact.onnx, without Keras. With `--folder NUMBER`, as many drawn photographs of all formats, one
in twenty broken in one of ten ways, are predicted by a command that is killed half-way and given again, and what comes
of them is counted. With `--score DATASET` the command predicts the test photographs of a public data set (official
split; archives as for the pipeline), and its maps, in fields of view that it finds, are scored in those of the set.
"""

import argparse
import io
import json
import multiprocessing
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from src import doubt, download, exported, metrics, phantom, predict, results, samples
from src.datasets import PUBLIC, Subsets
from src.journal import Journal
from src.params import load_params

SIZES = {"565x584": (584, 565), "3504x2336": (2336, 3504)}
SEVERAL = {"565x584": 21, "3504x2336": 4}  # photographs of one call
REPEATS = 5
BROKEN_SHARE = 0.05
TURNED = 6  # EXIF: to be turned by 90 degrees
EYES, SIDE = 10, 200


def saved(image: np.ndarray, kind: str, **how: object) -> bytes:
    """The picture as a file of one of Pillow's kinds."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, kind, **how)
    return content.getvalue()


def deep(image: np.ndarray, suffix: str) -> bytes:
    """The picture as a file of 16 bits."""
    return cv2.imencode(suffix, image[..., ::-1].astype(np.uint16) * 257)[1].tobytes()


def turned(image: np.ndarray) -> bytes:
    """A JPEG that lies on its side, and says so."""
    exif = Image.Exif()
    exif[0x0112] = TURNED
    return saved(np.rot90(image), "JPEG", quality=95, exif=exif)


def damaged(content: bytes) -> bytes:
    """A file with other bytes in its middle."""
    middle = len(content) // 2
    return content[:middle] + b"\0" * 200 + content[middle + 200 :]


FORMATS: dict[str, Callable[[np.ndarray], bytes]] = {
    ".png": lambda image: saved(image, "PNG"),
    ".jpg": lambda image: saved(image, "JPEG", quality=95),
    ".tif": lambda image: saved(image, "TIFF"),
    ".ppm": lambda image: saved(image, "PPM"),
    ".16.png": lambda image: deep(image, ".png"),
    ".16.tiff": lambda image: deep(image, ".tiff"),
    ".turned.jpg": turned,
}
BROKEN: dict[str, Callable[[np.ndarray], bytes]] = {
    "empty.png": lambda image: b"",
    "text.jpg": lambda image: b"this is no picture",
    "cut.jpg": lambda image: saved(image, "JPEG")[:-2000],
    "cut.tif": lambda image: saved(image, "TIFF")[:5000],
    "damaged.png": lambda image: damaged(saved(image, "PNG")),
    "black.png": lambda image: saved(np.zeros_like(image), "PNG"),
    "blue.png": lambda image: saved(np.ascontiguousarray(image[..., ::-1]), "PNG"),
    "one_colour.png": lambda image: saved(np.full_like(image, 120), "PNG"),
    "tiny.png": lambda image: saved(np.ascontiguousarray(image[::8, ::8]), "PNG"),
    "float.tif": lambda image: saved(image[..., 0].astype(np.float32), "TIFF"),
}


def mixed(root: Path, number: int, broken: int) -> None:
    """Write `number` files, `broken` of them broken, in seven folders with equal names in them."""
    rng = np.random.default_rng(1)
    eyes = [phantom.draw(1, index, SIDE, SIDE - 10).image for index in range(EYES)]
    kinds = (BROKEN, FORMATS)
    for index in range(number):
        image = np.clip(eyes[index % EYES] * rng.uniform(0.8, 1.2), 0, 255).astype(np.uint8)
        make = kinds[index >= broken]
        suffix = list(make)[index % len(make)]
        path = root / f"folder_{index % 7}" / f"{index // 7:04d}{'_' if index < broken else ''}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(make[suffix](image))


def command(photographs: Path, out: Path, network: Path, *more: str) -> list[str]:
    """The command that predicts."""
    return [sys.executable, "-m", "src.predict", str(photographs), "--out", str(out), "--model", str(network), *more]


def killed_after(predicting: list[str], out: Path, rows: int) -> int:
    """Kill the command (SIGKILL) as soon as it has left that many rows; the number of rows then."""
    process = subprocess.Popen(predicting, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    table, found = out / predict.TABLE, 0
    while found < rows and process.poll() is None:
        time.sleep(0.01)
        found = table.read_bytes().count(b"\n") - 1 if table.exists() else 0
    process.send_signal(signal.SIGKILL)
    process.wait()
    return found


def counted(out: Path) -> Counter:
    """How many rows there are of each status, and of `lost` ones, whose files are not there or not whole."""
    found = Counter()
    for row in Journal(out / predict.TABLE, results.COLUMNS).rows.values():
        found[row["status"]] += 1
        paths = [results.Task(Path(row["photograph"]), row["id"], out).path(kind) for kind in results.KINDS]
        if row["status"] == results.DONE:
            found["lost"] += any(cv2.imdecode(np.fromfile(path, np.uint8), -1) is None for path in paths)
    return found


def folder(number: int, network: Path) -> None:
    """Predict a folder of mixed files, killed half-way and resumed."""
    with tempfile.TemporaryDirectory() as place:
        photographs, out = Path(place) / "photographs", Path(place) / "out"
        mixed(photographs, number, round(BROKEN_SHARE * number))
        predicting, begin = command(photographs, out, network), time.perf_counter()
        print(f"killed after {killed_after(predicting, out, number // 2)} rows of {number}")
        done = subprocess.run(predicting, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
        named = sum(line.startswith("refused: ") for line in done.stderr.replace("\r", "\n").splitlines())
        print(f"exit code {done.returncode}: {done.stdout.strip().partition(':')[0]}; {named} named on stderr")
        print(f"in photographs.csv: {dict(counted(out))}; {seconds:.0f} s in all")
        again = subprocess.run(predicting, stderr=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
        print(f"once more: {again.stdout.strip().partition(':')[0]}")


def alone(function: Callable, *arguments: object) -> object:
    """What a function returns in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def timed(maps: Callable[[np.ndarray, np.ndarray], object], shape: tuple[int, int]) -> tuple[float, float]:
    """Seconds from a photograph of that shape to its maps, and peak memory of this process in MB."""
    eye = phantom.draw(1, 0, *shape)
    maps(eye.image, eye.fov)
    begin = time.perf_counter()
    for _ in range(REPEATS):
        maps(eye.image, eye.fov)
    seconds = (time.perf_counter() - begin) / REPEATS
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def by_onnx(network: Path, shape: tuple[int, int], flips: bool) -> tuple[float, float]:
    """`timed` with the packed network."""
    packed = exported.Exported(network)
    return timed(lambda image, fov: packed.maps(image, fov, flips), shape)


def by_keras(network: Path, settings: exported.Settings, shape: tuple[int, int], flips: bool) -> tuple[float, float]:
    """`timed` with the network in Keras."""
    return timed(keras(network, settings, flips), shape)


def keras(network: Path, settings: exported.Settings, flips: bool) -> Callable:
    """The maps of a photograph by the network in Keras, on two threads."""
    from src import backend, models, segment
    from src.predictor import Predictor, Views

    backend.configure(2)
    model = models.load(network)
    views = Views(settings.tile, settings.overlap, flips, 4, settings.scales)
    predictor = Predictor(models.forward(model), model.input_shape[1], views)
    return lambda image, fov: segment.photograph(image, fov, predictor, settings.fov_diameter, settings.clahe)


def difference(network: Path, packed: Path) -> float:
    """The largest difference between the probabilities by Keras and by ONNX."""
    other = exported.Exported(packed)
    eye = phantom.draw(1, 0, *SIZES["565x584"])
    maps = [by(eye.image, eye.fov).probability for by in (keras(network, other.settings, True), other.maps)]
    return float(np.abs(maps[0] - maps[1]).max())


def prepared(folder: Path) -> tuple[Path, Path, float]:
    """The network as .h5 and packed, in `folder`, and the seconds of its export."""
    from benchmarks.network import untrained
    from src import backend, export, models, pack

    params, trained = load_params(), Path("data/model/model.h5")
    backend.configure(2)
    model = models.load(trained) if trained.exists() else untrained(params)
    models.save(model, folder / "model.h5")
    begin = time.perf_counter()
    export.save(model, folder / "model.onnx")
    seconds = time.perf_counter() - begin
    (folder / "validation.json").write_text(json.dumps({"validation": {"threshold": 0.5}}))
    pack.pack(folder / "model.onnx", folder / "validation.json", params, folder / "packed.onnx")
    return folder / "model.h5", folder / "packed.onnx", seconds


def start_up(network: Path, place: Path) -> tuple[float, float, float]:
    """Seconds of import, of `--help` and of a first prediction, each the best of three."""
    (place / "eye.png").write_bytes(saved(phantom.draw(1, 0, *SIZES["565x584"]).image, "PNG"))
    fastest = []
    for number, how in enumerate((["-c", "import src.predict"], ["-m", "src.predict", "--help"], None)):
        seconds = []
        for repeat in range(3):
            out = place / f"{number}_{repeat}"
            full = command(place / "eye.png", out, network, "--no-flips") if how is None else [sys.executable, *how]
            begin = time.perf_counter()
            subprocess.run(full, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
        fastest.append(min(seconds))
    return tuple(fastest)


def whole(network: Path, shape: tuple[int, int], number: int, *more: str) -> tuple[float, float]:
    """Seconds a photograph that the command takes, files read and written, without start-up; its peak memory in MB.

    It is called with one photograph and with `number` of them; run it in a process of its own.
    """
    seconds = []
    with tempfile.TemporaryDirectory() as place:
        for count in (1, number):
            photographs = Path(place) / str(count)
            photographs.mkdir()
            small = phantom.draw(1, 0, shape[0] // 2, shape[1] // 2).image
            image = cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)
            for index in range(count):
                (photographs / f"{index}.jpg").write_bytes(saved(np.roll(image, index, axis=1), "JPEG", quality=95))
            begin = time.perf_counter()
            predicting = command(photographs, Path(place) / f"{count}_out", network, *more)
            subprocess.run(predicting, check=True, capture_output=True)
            seconds.append(time.perf_counter() - begin)
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return (seconds[1] - seconds[0]) / (number - 1), memory


def score(dataset: str, network: Path) -> None:
    """Print pooled scores in the FOV of the command's maps of a public test set, and how errors follow the doubt."""
    split = load_params().data.splits.model_dump()[dataset]
    entries = download.public(dataset, split, Subsets(train=(), test=(dataset,)), Path.cwd()).test
    threshold, levels, tally = exported.Exported(network).settings.threshold, metrics.EMPTY, doubt.Tally()
    with tempfile.TemporaryDirectory() as place:
        photographs, out = Path(place) / "photographs", Path(place) / "out"
        photographs.mkdir()
        eyes = [entry.load() for entry in entries]
        for eye in eyes:
            (photographs / f"{eye.id}.png").write_bytes(saved(eye.image, "PNG"))
        begin = time.perf_counter()
        subprocess.run(command(photographs, out, network), check=True, stderr=subprocess.DEVNULL)
        print(f"{len(eyes)} photographs of {dataset}, four flips: {time.perf_counter() - begin:.1f} s")
        for eye in eyes:
            levels += metrics.histogram(samples.read_levels(out / f"{eye.id}_probability.png"), eye.truth, eye.fov)
            wrong = samples.read_bool(out / f"{eye.id}_vessels.png") != eye.truth
            tally.add(dataset, samples.read_levels(out / f"{eye.id}_doubt.png") / 65535, wrong, eye.fov)
    print(", ".join(f"{name} {value:.4f}" for name, value in metrics.scores_at(levels, threshold).items()))
    print("| doubt up to | share of pixels | of these wrong |\n| --- | --- | --- |")
    rows = tally.rows()
    for row in rows:
        share = row["pixels"] / sum(other["pixels"] for other in rows)
        print(f"| {row['doubt_up_to']:g} | {share:.4f} | {row['wrong_share']:.4f} |")


def costs(packed: Path, ways: dict[str, tuple[Callable, ...]]) -> None:
    """Print start-up of a packed network, and seconds and memory of the ways to compute its maps."""
    with tempfile.TemporaryDirectory() as place:
        names = ("import", "--help", "one photograph of 565x584, no flips, start-up and files included")
        for name, seconds in zip(names, start_up(packed, Path(place)), strict=True):
            print(f"{name}: {seconds:.2f} s")
    for size, shape in tqdm(SIZES.items(), desc="sizes"):
        for flips in (False, True):
            for name, how in ways.items():
                seconds, memory = alone(*how, shape, flips)
                tqdm.write(f"{size}, {'four flips' if flips else 'no flips'}, {name}: {seconds:.2f} s, {memory:.0f} MB")
            seconds, memory = alone(whole, packed, shape, SEVERAL[size], *([] if flips else ["--no-flips"]))
            tqdm.write(f"{size}, the same, whole command, a photograph: {seconds:.2f} s, {memory:.0f} MB")


def against_keras() -> None:
    """Export the network of the project, print its costs in both engines, and how far they differ."""
    with tempfile.TemporaryDirectory() as place:
        network, packed, seconds = alone(prepared, Path(place))
        print(f"export to ONNX: {seconds:.1f} s, {packed.stat().st_size / 1e6:.1f} MB")
        print(f"largest difference of a probability, ONNX and Keras: {alone(difference, network, packed):.1e}")
        settings = exported.Exported(packed).settings
        costs(packed, {"ONNX": (by_onnx, packed), "Keras": (by_keras, network, settings)})


def main() -> None:
    """Print the costs, or what comes of a folder."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prediction", description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", type=Path, help="a file of `python -m src.pack`")
    parser.add_argument("--folder", type=int, metavar="NUMBER", help="predict so many files, some of them broken")
    parser.add_argument("--score", choices=PUBLIC, metavar="DATASET", help="predict and score its test photographs")
    given = parser.parse_args()
    if given.score:
        score(given.score, given.model or predict.MODEL)
    elif given.folder:
        folder(given.folder, given.model or predict.MODEL)
    elif given.model:
        costs(given.model, {"ONNX": (by_onnx, given.model)})
    else:
        against_keras()


if __name__ == "__main__":
    main()
