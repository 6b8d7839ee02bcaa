"""Runs that MLflow did not take, kept as files until it does: python -m src.outbox sends them.

A folder a run, below `.tracking/outbox` at the project folder, named after the run's state; it holds all that the run
is made of, and needs nothing else.
"""

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock, Timeout

from src import files, runs, tracking
from src.root import real_root
from src.runs import Model, Run
from src.stores import FOLDER, Refused, Unreachable

COMMAND = "python -m src.outbox"

logger = logging.getLogger(__name__)


class Sent(NamedTuple):
    """What became of a run that was kept: its name, and the id of its MLflow run or why there is none."""

    name: str
    run_id: str | None
    reason: str = ""


def deliver(run: Run, experiment: str, root: Path) -> str | None:
    """Record the run, and those that are kept; returns its id. Where MLflow refuses it, keep it: then there is no id.

    Nothing that befalls MLflow is raised: each is a warning.

    Raises:
        OSError: MLflow refuses the run and it cannot be kept either.
    """
    try:
        run_id = tracking.record(run, experiment, root)
    except Refused as error:
        place = _kept(run, experiment, root, error)
        sentence = "WARNING: MLflow did not take this run, it is kept in %s until `%s` sends it (%s)"
        logger.warning(sentence, place, COMMAND, error)
        return None
    try:
        for sent in send(root):
            logger.warning("%s", _sentence(sent))
    except OSError as error:
        logger.warning("WARNING: runs that are kept could not be sent: %s", error)
    return run_id


def keep(run: Run, experiment: str, root: Path) -> Path:
    """Write the run to its folder, whole or not at all; returns the folder.

    Raises:
        OSError: no space or no permission.
    """
    place = folder(root) / run.tags[runs.FINGERPRINT]
    part = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        _write(run, experiment, part)
        if not place.exists():  # it is that state, too
            files.publish(part, place)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return place


def send(root: Path) -> Iterator[Sent]:
    """Record the runs that are kept, oldest first, and delete each that MLflow has; says what became of each.

    Nothing where another process sends them already.
    """
    outbox = folder(root)
    if not outbox.is_dir():
        return
    with contextlib.suppress(Timeout), FileLock(outbox.with_suffix(".lock"), timeout=0):
        down = None
        for place in sorted(outbox.glob("[!.]*"), key=lambda path: path.stat().st_mtime):
            if down is None:
                try:
                    yield _send(place, root)
                    continue
                except Unreachable as error:
                    down = str(error)
            yield Sent(place.name, None, down)


def read(place: Path) -> tuple[Run, str]:
    """The run of a folder, and its experiment.

    Raises:
        OSError, EOFError, ValueError, KeyError, TypeError: the folder is not as `keep` wrote it.
    """
    kept = files.read_json(place / "run.json")
    scores, training, per_image = runs.read_tables(place / "files" / "metrics")
    return Run(
        params=kept["params"],
        tags=kept["tags"],
        scores=scores,
        training=training,
        per_image=per_image,
        files={"": [place / "files"]},
        inputs=[runs.Input(*every) for every in kept["inputs"]],
        model=_read_model(kept["model"], place / "model") if kept["model"] else None,
        time=kept["time"],
    ), kept["experiment"]


def folder(root: Path) -> Path:
    """Where the runs are."""
    return root / FOLDER / "outbox"


def _kept(run: Run, experiment: str, root: Path, refusal: Refused) -> Path:
    """Where the run is kept; an OSError that names both causes where it is not."""
    try:
        return keep(run, experiment, root)
    except OSError as error:
        raise OSError(f"this run is not recorded ({refusal}), nor can it be kept: {error}") from error


def _send(place: Path, root: Path) -> Sent:
    """Record one run that is kept, and delete it here when MLflow has it; raises Unreachable."""
    try:
        run_id = tracking.record(*read(place), root)
        shutil.rmtree(place)
    except Unreachable:
        raise
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:  # refused, or no longer as `keep` wrote it
        return Sent(place.name, None, str(error))
    return Sent(place.name, run_id)


def _write(run: Run, experiment: str, part: Path) -> None:
    for name, paths in run.files.items():
        into = part / "files" / name
        into.mkdir(parents=True, exist_ok=True)
        for path in paths:
            if path.is_dir():
                shutil.copytree(path, into, dirs_exist_ok=True)
            else:
                shutil.copy(path, into)
    facts = {"params": run.params, "tags": run.tags, "inputs": run.inputs, "time": run.time}
    model = None if run.model is None else _write_model(run.model, part / "model")
    kept = json.dumps({"experiment": experiment, "model": model, **facts})
    (part / "run.json").write_text(kept, encoding="utf-8")


def _write_model(model: Model, place: Path) -> dict:
    """Copy its files and save its arrays; returns, for each field, the name of that file, or the value itself."""
    place.mkdir()
    fields = {}
    for name, value in model._asdict().items():
        if isinstance(value, Path):
            shutil.copy(value, place / value.name)
            fields[name] = {"file": value.name}
        elif isinstance(value, list) and all(isinstance(item, Path) for item in value):
            (place / name).mkdir()
            for path in value:
                shutil.copy(path, place / name)
            fields[name] = {"files": [f"{name}/{path.name}" for path in value]}
        elif isinstance(value, np.ndarray):
            np.save(place / f"{name}.npy", value)
            fields[name] = {"array": f"{name}.npy"}
        else:
            fields[name] = {"value": value}
    return fields


def _read_model(fields: dict, place: Path) -> Model:
    """The model that `_write_model` wrote."""
    readers = {
        "file": lambda name: place / name,
        "files": lambda names: [place / name for name in names],
        "array": lambda name: np.load(place / name),
        "value": lambda own: own,
    }
    values = {name: readers[kind](of) for name, every in fields.items() for kind, of in every.items()}
    return Model(**values)


def _sentence(sent: Sent) -> str:
    if sent.run_id is None:
        return f"refused: {sent.name}: {sent.reason}"
    return f"sent: {sent.name} is run {sent.run_id}"


def main(root: Path) -> int:
    """Send what is kept; 0 where nothing is left, 1 where something is."""
    for sent in send(root):
        print(_sentence(sent), flush=True)
    left = len(list(folder(root).glob("[!.]*")))
    print(f"{left} left to send" if left else "nothing is left to send")
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main(real_root(Path.cwd())))
