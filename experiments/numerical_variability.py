"""Measure how scores vary with threads and instructions: python -m experiments.numerical_variability [KEY=VALUE ...].

Stages train and evaluate run in a temporary folder on the data of the last `dvc repro`, with 1, 2 and 4 threads, with
and without oneDNN, and with oneDNN limited to AVX2. The network of 2 threads with oneDNN is also scored in all these
ways. KEY=VALUE changes a parameter, such as model.architecture=residual_unet, which is quick.
"""

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from experiments import short_training
from experiments.result_writer import RESULTS, ResultWriter
from robustness import scratch_project
from src.evaluation import result_tables
from src.metrics.metric_definitions import SCORES
from src.params import Params, load_params


class Environment(NamedTuple):
    """Threads of TensorFlow, and variables that decide how it computes."""

    threads: int
    variables: dict[str, str]


ENVIRONMENTS = {  # the first is that of the network which is scored in all of them
    "2 threads": Environment(2, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "1 thread": Environment(1, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "4 threads": Environment(4, {"TF_ENABLE_ONEDNN_OPTS": "1"}),
    "2 threads, AVX2": Environment(2, {"TF_ENABLE_ONEDNN_OPTS": "1", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "1 thread, no oneDNN": Environment(1, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "2 threads, no oneDNN": Environment(2, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
    "4 threads, no oneDNN": Environment(4, {"TF_ENABLE_ONEDNN_OPTS": "0"}),
}
REFERENCE = next(iter(ENVIRONMENTS))
DATA = ("data/raw", "data/patches", "data/augmented", "data/baselines")
MODEL = "data/model/model.h5"
COLUMNS = ("score", "n_trainings", "range", "range_one_network", *ENVIRONMENTS)


def read_scores(root: Path) -> dict[str, float]:
    """Read the model's scores of the first test set in the FOV, pooled where that is possible, else means."""
    summary = result_tables.read(root / "metrics/summary.csv")
    chosen = summary[(summary["region"] == "fov") & (summary["observer"] == "model")]
    scores = chosen[chosen["dataset"] == chosen["dataset"].iloc[0]].set_index("score")
    return scores["pooled"].fillna(scores["mean"]).dropna().reindex(list(SCORES)).dropna().to_dict()


def measure(params: Params) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, float]]]:
    """Return the scores of a training in each environment, and those of one network scored in each."""
    trained, scored = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        root, kept = Path(folder), Path(folder) / "kept.h5"
        for place in DATA:
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            os.symlink(Path(place).resolve(strict=True), root / place)
        for name, (threads, variables) in tqdm(ENVIRONMENTS.items(), unit="environment"):
            scratch_project.write_params(root, params.model_dump(mode="json"), {"train": {"cpu_threads": threads}})
            scratch_project.run_stage("train", root, **variables)
            scratch_project.run_stage("evaluate", root, **variables)
            trained[name] = read_scores(root)
            if name == REFERENCE:
                shutil.copy(root / MODEL, kept)
            shutil.copy(kept, root / MODEL)
            scratch_project.run_stage("evaluate", root, **variables)
            scored[name] = read_scores(root)
    return trained, scored


def spread(values: Iterable[float]) -> float:
    """Return the largest minus the smallest value."""
    values = list(values)
    return max(values) - min(values)


def main() -> None:
    """Train and score in all environments; write a row for each score."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.numerical_variability", description=__doc__.splitlines()[0]
    )
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE", help="a changed parameter")
    parser.add_argument("--results", type=Path, default=RESULTS / "numerical_variability.csv", help="CSV to write")
    arguments = parser.parse_args()
    try:
        params = short_training.with_params(load_params(), short_training.read_changes(arguments.changes))
    except ValueError as error:
        parser.error(str(error))
    trained, scored = measure(params)
    writer = ResultWriter(arguments.results, COLUMNS)
    for name in trained[REFERENCE]:
        values = {environment: scores[name] for environment, scores in trained.items()}
        one_network = spread(scores[name] for scores in scored.values())
        writer.add(
            score=name,
            n_trainings=len(values),
            range=spread(values.values()),
            range_one_network=one_network,
            **values,
        )


if __name__ == "__main__":
    main()
