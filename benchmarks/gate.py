"""Count how often the regression gate cries wolf, and what it catches: python -m benchmarks.gate.

A small compact network is trained on drawn photographs from several seeds, which are equally good; every ordered pair
goes through the gate. Then a loss of F1 is planted on every image of the later side.
"""

import itertools
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from src import comparison, freshness, regression, revisions, tables
from src.params import Regression, load_params, load_regression

SEEDS = range(1, 8)
LOSSES = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03)
STAGES = {"once": ("download", "patch", "augment", "baselines"), "a seed": ("train", "evaluate")}
CHANGES = {
    "model": {"architecture": "residual_unet", "filters": (8, 16, 32)},
    "loss": {"name": "bce_dice"},
    "train": {"learning_rate": 3.0e-3, "batch_size": 2, "epochs": 6, "steps_per_epoch": 60},
    "baselines": {"filters": []},
}


def write_params(folder: Path, seed: int) -> None:
    """The committed parameters with CHANGES and this seed of the training."""
    values = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    for section, changed in CHANGES.items():
        values[section] |= changed
    values["train"]["seed"] = seed
    (folder / "params.yaml").write_text(yaml.safe_dump(json.loads(json.dumps(values))), encoding="utf-8")


def run(stages: tuple[str, ...], folder: Path) -> None:
    """Run stages by their commands in dvc.yaml, in `folder`, with the code of the project."""
    commands = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]
    environment = os.environ | {"PYTHONPATH": str(Path.cwd()), "TRACKING_LIVE": "false"}
    for stage in stages:
        _, *arguments = shlex.split(commands[stage]["cmd"])
        subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True)


def side(name: str, folder: Path, lock: freshness.Lock) -> regression.Side:
    """What a training scored."""
    images = tables.parse((folder / comparison.TABLE).read_text(encoding="utf-8"), name, tables.PER_IMAGE)
    return regression.Side(name, images, json.loads((folder / regression.SCORES).read_text(encoding="utf-8")), lock)


def planted(after: regression.Side, loss: float) -> regression.Side:
    """That side with F1 lower by `loss` on every image of the model."""
    images = after.images.copy()
    images.loc[images["observer"] == regression.OBSERVER, "f1"] -= loss
    return after._replace(images=images)


def failed(pairs: list[tuple[regression.Side, regression.Side]], gate: Regression, loss: float) -> list[list[str]]:
    """The scores that the gate fails for each pair, with that loss planted."""
    results = [regression.compare(before, planted(after, loss), gate) for before, after in pairs]
    return [[row.score for row in result.rows if row.verdict.startswith(regression.FAIL)] for result in results]


def main() -> None:
    """Train, compare, count."""
    load_params()
    gate, lock, sides = load_regression(), freshness.lock(revisions.WORKING), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "data" / "folder").mkdir(parents=True)
        for seed in SEEDS:
            write_params(folder, seed)
            run(STAGES["a seed"] if sides else STAGES["once"] + STAGES["a seed"], folder)
            sides.append(side(f"seed {seed}", folder, lock))
            print(f"seed {seed}: mean F1 {sides[-1].scores['phantom']['fov']['mean_f1']:.4f}", flush=True)
    pairs = list(itertools.permutations(sides, 2))
    for loss in LOSSES:
        found = failed(pairs, gate, loss)
        by_score = {score: sum(score in scores for scores in found) for score in gate.scores}
        counts = ", ".join(f"{score} {count}" for score, count in by_score.items() if count)
        print(f"F1 lower by {loss:g}: {sum(map(bool, found))} of {len(pairs)} pairs fail ({counts or 'no score'})")


if __name__ == "__main__":
    main()
