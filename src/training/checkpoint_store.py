"""Store the state of an unfinished training on disk, so that the same command, and no other, resumes it.

A checkpoint is one file `0012-SHA256.npz` in a folder that is named by a hash of all that decides the result.
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
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock, Timeout
from tqdm import tqdm

from src.common import atomic_io
from src.common.hashing import sha256
from src.common.processor import describe_processor

FOLDER = "checkpoints"
LOCK_FILE = "training.lock"
N_KEPT = 2  # the older one is used when the newer is damaged
STATE_KEY = "state"  # of the state among the arrays of a file
DAY_SECONDS = 86400
PACKAGES = ("tensorflow", "tf_keras", "segmentation-models", "efficientnet", "image-classifiers", "numpy")
# Environment variables whose values choose instructions or the order of sums.
NUMERIC_SETTINGS = (
    *("TF_ENABLE_", "TF_XLA", "XLA_", "ONEDNN_", "DNNL_", "OMP_", "MKL_", "KMP_", "NVIDIA_TF32", "TF_DISABLE_"),
)


class Checkpoint(NamedTuple):
    """The state of a training: numbers and text that JSON can hold, and arrays by name."""

    state: dict[str, Any]
    arrays: dict[str, np.ndarray]


class CheckpointStore:
    """The checkpoints of one training."""

    def __init__(self, folder: Path) -> None:
        """Use the checkpoints in `folder`, which need not exist yet."""
        self.folder = folder
        self._lock = FileLock(folder / LOCK_FILE, timeout=0, fallback_to_soft=False)  # soft ones outlive `kill -9`

    def acquire(self) -> bool:
        """Lock the checkpoints for this process until it ends; False if another process has locked them.

        Where no file can be locked (a full disk, some network file systems), a warning is printed; True then, too.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            os.utime(self.folder)  # so that `prune` of another training does not delete it
        except Timeout:
            return False
        except OSError as error:
            tqdm.write(f"warning: {self.folder} cannot be locked: {error}", file=sys.stderr)
        return True

    def files(self) -> list[Path]:
        """List the checkpoint files, the newest first."""
        return sorted(self.folder.glob("[0-9]*-*.npz"), key=lambda path: int(path.stem.partition("-")[0]), reverse=True)

    def write(self, epoch: int, checkpoint: Checkpoint) -> None:
        """Add a checkpoint and delete all but the newest two; on a full disk, warn and let the training go on."""
        content = io.BytesIO()
        state = np.frombuffer(json.dumps(checkpoint.state).encode(), np.uint8)
        np.savez(content, allow_pickle=False, **{STATE_KEY: state}, **checkpoint.arrays)
        value = content.getvalue()
        try:
            atomic_io.write_bytes(self.folder / f"{epoch:04d}-{hashlib.sha256(value).hexdigest()}.npz", value)
            for old in self.files()[N_KEPT:]:
                old.unlink(missing_ok=True)
        except OSError as error:
            tqdm.write(f"warning: epoch {epoch} has no checkpoint: {error}", file=sys.stderr)

    def read_newest(self) -> Checkpoint | None:
        """Read the newest undamaged checkpoint, None if there is none; a warning names each damaged one."""
        for path in self.files():
            try:
                value = path.read_bytes()
            except OSError as error:
                tqdm.write(f"warning: {path} cannot be read: {error}", file=sys.stderr)
                continue
            if hashlib.sha256(value).hexdigest() == path.stem.partition("-")[2]:
                return _parse(value)
            tqdm.write(f"warning: {path} is damaged; the checkpoint before it is used, if any", file=sys.stderr)
        return None

    def delete(self) -> None:
        """Delete the checkpoints of a finished training, with the lock."""
        shutil.rmtree(self.folder, ignore_errors=True)


def training_fingerprint(params: dict[str, Any], inputs: Iterable[Path]) -> str:
    """Hash all that a training is made from into 32 hexadecimal digits.

    That is the parameters, the content of the input files and folders, the code of the project that this process has
    imported, and the versions of Python and of the packages.
    """
    return _hash_json(
        params=params,
        inputs=[[file.name, sha256(file)] for place in inputs for file in _list_files(place)],
        code={name: sha256(file) for name, file in imported_code().items()},
        versions=[platform.python_version(), *map(version, PACKAGES)],
    )


def checkpoint_key(fingerprint: str, devices: Sequence[object]) -> str:
    """Hash a training fingerprint and the machine into 32 hexadecimal digits, the name of the folder.

    Devices (anything that JSON can hold), processor and NUMERIC_SETTINGS of the environment change the last bits of
    the weights.
    """
    settings = {name: value for name, value in os.environ.items() if name.startswith(NUMERIC_SETTINGS)}
    return _hash_json(fingerprint=fingerprint, devices=devices, processor=describe_processor(), settings=settings)


def imported_code() -> dict[str, Path]:
    """List the file of each module of the project that this process has imported, by the module's name."""
    specs = [getattr(module, "__spec__", None) for module in list(sys.modules.values())]
    ours = [spec for spec in specs if spec is not None and spec.name.split(".")[0] in ("src", "stages", "experiments")]
    return {spec.name: Path(spec.origin) for spec in ours if spec.origin}


def prune(root: Path, retention_days: float, kept_key: str) -> None:
    """Delete the checkpoints below `root` that were not written to for so many days, except those of `kept_key`."""
    limit = time.time() - retention_days * DAY_SECONDS
    for folder in root.glob("[0-9a-f]" * 32):
        with contextlib.suppress(FileNotFoundError):  # another training is writing or deleting it
            if folder.name != kept_key and max(path.stat().st_mtime for path in (folder, *folder.iterdir())) < limit:
                shutil.rmtree(folder, ignore_errors=True)


def _parse(value: bytes) -> Checkpoint:
    with np.load(io.BytesIO(value), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return Checkpoint(json.loads(arrays.pop(STATE_KEY).tobytes()), arrays)


def _list_files(place: Path) -> list[Path]:
    """List a file itself, or all files in a folder."""
    return [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())


def _hash_json(**values: object) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:32]
