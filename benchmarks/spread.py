"""How far scores move by threads and instruction set: python -m benchmarks.spread [SECTION.KEY=VALUE ...].

Stages train and evaluate run in a temporary folder, on the data of the last `dvc repro`, with 1, 2 and 4 threads, with
and without oneDNN, and as a processor without AVX-512 runs oneDNN. The network of 2 threads with oneDNN is also scored
in all these ways. Arguments change parameters: model.architecture=residual_unet is quick.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from tqdm import tqdm

from benchmarks import projects
from src.reported import SCORES

WAYS = {  # threads and variables; the first is what the others are compared with
    "2 threads": (2, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "1 thread": (1, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "4 threads": (4, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "2 threads, AVX2": (2, {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "1 thread, no oneDNN": (1, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "2 threads, no oneDNN": (2, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "4 threads, no oneDNN": (4, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
}
DATA = ("data/raw", "data/patches", "data/augmented", "data/baselines")
MODEL = "data/model/model.h5"


def run(stage: str, root: Path, variables: dict[str, str]) -> None:
    """Run a stage there; ends the program with what it said where it fails."""
    environment = projects.environment(**variables)
    done = subprocess.run(
        projects.commands()[stage], cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    if done.returncode:
        sys.exit(done.stderr.decode(errors="replace")[-2000:])


def scores(root: Path) -> dict[str, float]:
    """The scores of the first test set in the FOV, pooled where that is possible, else the mean over images."""
    read = json.loads((root / "metrics/scores.json").read_text(encoding="utf-8"))
    of_set = next(value["fov"] for value in read.values() if isinstance(value, dict))
    found = {name: of_set.get(name, of_set.get(f"mean_{name}")) for name in SCORES}
    return {name: value for name, value in found.items() if value is not None}


def table(trained: dict[str, dict[str, float]], scored: dict[str, dict[str, float]]) -> None:
    """Print a row a score: each training, their range, the largest change of one network's score."""
    print(f"| score | {' | '.join(trained)} | range | range, one network |")
    print(f"| --- |{' --- |' * (len(trained) + 2)}")
    for name in next(iter(trained.values())):
        values = [run[name] for run in trained.values()]
        of_one = [run[name] for run in scored.values()]
        cells = (*(f"{value:.4f}" for value in values), f"{max(values) - min(values):.4f}")
        print(f"| {name} | {' | '.join(cells)} | {max(of_one) - min(of_one):.1e} |")


def main() -> None:
    """Train and score in all ways."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.spread", description=__doc__.splitlines()[0])
    parser.add_argument("changes", nargs="*", metavar="SECTION.KEY=VALUE", help="a parameter that is changed")
    changes = []
    for text in parser.parse_args().changes:
        key, _, value = text.partition("=")
        section, _, name = key.partition(".")
        changes.append({section: {name: yaml.safe_load(value)}})
    trained, scored = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for place in DATA:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(Path(place).resolve(strict=True), root / place)
        for way, (threads, variables) in tqdm(WAYS.items(), unit="way"):
            projects.write_params(root, *changes, {"train": {"threads": threads}})
            run("train", root, variables)
            run("evaluate", root, variables)
            trained[way] = scores(root)
            kept = root / "kept.h5"
            if way == next(iter(WAYS)):
                shutil.copy(root / MODEL, kept)
            shutil.copy(kept, root / MODEL)
            run("evaluate", root, variables)
            scored[way] = scores(root)
    table(trained, scored)


if __name__ == "__main__":
    main()
