"""Keep the state of an unfinished training on disk, so that the same command goes on from it, and no other.

A checkpoint is one .npz, `0012-<sha256>.npz`, in a folder that is named by all that decides the result.
"""

import contextlib
import hashlib
import io
import json
import os
import platform
import shutil
import sys
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from src import files

FOLDER = "checkpoints"
LOCK = "training.lock"
KEPT = 2  # the older one is for the day that the newer is damaged
STATE = "state"
DAY_SECONDS = 86400
PACKAGES = ("tensorflow", "tf_keras", "segmentation-models", "efficientnet", "image-classifiers", "numpy")
# Variables whose values choose instructions or the order of sums.
SETTINGS = ("TF_ENABLE_", "TF_XLA", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "MKL_", "KMP_", "NVIDIA_TF32", "TF_DISABLE_")


class Checkpoint(NamedTuple):
    """The state of a training: numbers and text that JSON holds, and arrays by name."""

    state: dict[str, Any]
    arrays: dict[str, np.ndarray]


class Store:
    """The checkpoints of one training."""

    def __init__(self, folder: Path) -> None:
        """Those in `folder`, which need not exist yet."""
        self.folder = folder
        self._lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)  # a soft one would outlive `kill -9`

    def claim(self) -> bool:
        """Whether this process alone has them from now on, until it ends: another of the same training has not.

        Where no file can be locked, on a full disk or some network's, it has them, too.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            os.utime(self.folder)  # lest `prune` of another training takes them for forgotten
        except Timeout:
            return False
        except OSError as error:
            tqdm.write(f"warning: {self.folder} cannot be locked: {error}", file=sys.stderr)
        return True

    def paths(self) -> list[Path]:
        """The checkpoints, the newest first."""
        return sorted(self.folder.glob("[0-9]*-*.npz"), key=lambda path: int(path.stem.partition("-")[0]), reverse=True)

    def write(self, number: int, checkpoint: Checkpoint) -> None:
        """Add a checkpoint and delete all but the newest two; a full disk is a warning, as training is worth more."""
        content = io.BytesIO()
        state = np.frombuffer(json.dumps(checkpoint.state).encode(), np.uint8)
        np.savez(content, allow_pickle=False, **{STATE: state}, **checkpoint.arrays)
        value = content.getvalue()
        try:
            files.write_bytes(self.folder / f"{number:04d}-{hashlib.sha256(value).hexdigest()}.npz", value)
            for old in self.paths()[KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            tqdm.write(f"warning: epoch {number} has no checkpoint: {error}", file=sys.stderr)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is as it was written, None without one; a damaged one is named in a warning."""
        for path in self.paths():
            try:
                value = path.read_bytes()
            except OSError as error:
                tqdm.write(f"warning: {path} cannot be read: {error}", file=sys.stderr)
                continue
            if hashlib.sha256(value).hexdigest() == path.stem.partition("-")[2]:
                return _checkpoint(value)
            tqdm.write(f"warning: {path} is damaged; the checkpoint before it is used, if any", file=sys.stderr)
        return None

    def clear(self) -> None:
        """Delete all of it: the training is done. The lock is among it, and nobody waits for one that is gone."""
        shutil.rmtree(self.folder, ignore_errors=True)


def recipe(params: dict[str, Any], inputs: Iterable[Path]) -> str:
    """32 hexadecimal digits for what a training is made from: these parameters and the files in these places.

    And the code of the project that this process has imported, and the versions of packages.
    """
    return _digest(
        params=params,
        inputs=[[file.name, _sha256(file)] for place in inputs for file in _files(place)],
        code={name: _sha256(file) for name, file in code().items()},
        versions=[platform.python_version(), *map(version, PACKAGES)],
    )


def key(recipe: str, devices: list[tuple]) -> str:
    """The name, 32 hexadecimal digits, of a training from that recipe on these devices.

    It also stands for the processor and the settings in the environment that change the last bits of weights.
    """
    settings = {name: value for name, value in os.environ.items() if name.startswith(SETTINGS)}
    return _digest(recipe=recipe, devices=devices, processor=processor(), settings=settings)


def code() -> dict[str, Path]:
    """The file of each module of the project that this process has imported, by the module's name."""
    modules = {
        module.__spec__.name: module for module in list(sys.modules.values()) if getattr(module, "__spec__", None)
    }
    ours = {name: module for name, module in modules.items() if name.split(".")[0] in ("src", "stages")}
    return {name: Path(module.__file__) for name, module in ours.items() if module.__file__}


def processor() -> list[str]:
    """The names and features of the processor, as far as the system tells."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.is_file() else []
    telling = {line for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return [platform.machine(), platform.processor(), *sorted(telling)]


def prune(root: Path, days: float, but: str) -> None:
    """Delete the checkpoints below `root` that nobody has written to for `days`, but not those of the key `but`."""
    limit = time.time() - days * DAY_SECONDS
    for folder in root.glob("[0-9a-f]" * 32):
        with contextlib.suppress(FileNotFoundError):  # another training writes or clears it at this moment
            if folder.name != but and max(path.stat().st_mtime for path in (folder, *folder.iterdir())) < limit:
                shutil.rmtree(folder, ignore_errors=True)


def _checkpoint(value: bytes) -> Checkpoint:
    with np.load(io.BytesIO(value), allow_pickle=False) as arrays:
        named = {name: arrays[name] for name in arrays.files}
    return Checkpoint(json.loads(named.pop(STATE).tobytes()), named)


def _files(place: Path) -> list[Path]:
    """A file itself, or all files in a folder."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def _digest(**decisive: object) -> str:
    return hashlib.sha256(json.dumps(decisive, sort_keys=True).encode()).hexdigest()[:32]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
