"""Count false positives and detections of the regression gate: python -m experiments.gate_error_rates [--seeds N].

A small compact U-Net is trained on synthetic images from several seeds, which are equally good; every ordered pair goes
through the gate. Then F1 of the later run is lowered by a known loss on every image, which the gate should detect.
Pooled scores stay as they are.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

from tqdm import tqdm

from experiments.result_writer import RESULTS, ResultWriter
from robustness import scratch_project
from src.common import atomic_io
from src.evaluation import gate_inputs, gate_verdict, git_revisions, pipeline_status, result_tables
from src.evaluation.gate_inputs import CommittedRun
from src.params import RegressionGate, load_regression_gate

LOSSES = (0.0, 0.005, 0.01, 0.015, 0.02, 0.03)  # of F1, on every image
COMMON_STAGES = ("download", "patch", "augment", "baselines")
STAGES_PER_SEED = ("train", "evaluate")
CHANGES: scratch_project.Changes = {
    "model": {"architecture": "residual_unet", "filters": [8, 16, 32]},
    "loss": {"name": "bce_dice"},
    "train": {"learning_rate": 3.0e-3, "batch_size": 2, "epochs": 6, "steps_per_epoch": 60},
    "baselines": {"filters": []},
}


def read_run(name: str, folder: Path, lock: pipeline_status.Lock) -> CommittedRun:
    """Read the tables of a training."""
    per_image, summary = (
        result_tables.parse(atomic_io.read_text(folder / path), name, path.name) for path in gate_inputs.TABLES
    )
    return CommittedRun(name, per_image, summary, lock)


def lower_f1(run: CommittedRun, loss: float) -> CommittedRun:
    """Lower the model's F1 by `loss` on every image."""
    per_image = run.per_image.copy()
    per_image.loc[per_image["observer"] == gate_verdict.OBSERVER, "f1"] -= loss
    return run._replace(per_image=per_image)


def failed_scores(pairs: list[tuple[CommittedRun, CommittedRun]], gate: RegressionGate, loss: float) -> list[set[str]]:
    """Return the scores that the gate fails for each pair, with F1 of the later run lowered."""
    results = [gate_verdict.judge_runs(before, lower_f1(after, loss), gate) for before, after in pairs]
    return [{row.score for row in result.rows if row.failed} for result in results]


def train(seeds: range) -> list[CommittedRun]:
    """Train and score a network from each seed, on the same data."""
    lock = pipeline_status.read_lock(git_revisions.WORKING)
    runs: list[CommittedRun] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed in tqdm(seeds, unit="seed"):
            scratch_project.write_params(folder, CHANGES, {"train": {"seed": seed}})
            for stage in STAGES_PER_SEED if runs else COMMON_STAGES + STAGES_PER_SEED:
                scratch_project.run_stage(stage, folder)
            runs.append(read_run(f"seed {seed}", folder, lock))
    return runs


def main() -> None:
    """Train, then write a row for each loss: pairs that fail, and by which scores."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gate_error_rates", description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=7, help="trainings (default: 7)")
    parser.add_argument("--results", type=Path, default=RESULTS / "gate_error_rates.csv", help="CSV to write")
    arguments = parser.parse_args()
    gate = load_regression_gate()
    pairs = list(itertools.permutations(train(range(1, arguments.seeds + 1)), 2))
    lowered = [score for score in gate.tolerances if not score.startswith("pooled_")]
    writer = ResultWriter(arguments.results, ("f1_loss", "n_pairs", "n_failed", *lowered))
    for loss in LOSSES:
        failed = failed_scores(pairs, gate, loss)
        by_score = {score: sum(score in scores for scores in failed) for score in lowered}
        writer.add(f1_loss=loss, n_pairs=len(pairs), n_failed=sum(map(bool, failed)), **by_score)


if __name__ == "__main__":
    main()
