"""Hand the run to MLflow."""

import sys
from pathlib import Path

from src import files, preprocess, samples, tracking
from src.cli import run
from src.params import Params
from src.root import real_root


def main(
    metrics: Path, examples: Path, model: Path, test: Path, recorded: Path, params: Params, project: Path = Path()
) -> str:
    """Record params, data, code, curves, scores, pictures and model as one MLflow run; returns its id.

    The fingerprint of the state goes to `recorded`, which git does not track: a fresh clone has it not and records.
    """
    network = None
    if params.record.model:
        sample, preparation = samples.find(test)[0], params.preprocess
        photograph, fov = samples.image(sample), samples.fov(sample)
        prepared = preprocess.prepare(photograph, fov, preparation.fov_diameter, preparation.clahe)
        network = tracking.Model(model, prepared.image)
    result = tracking.gather(project, metrics, examples, params.model_dump(), network)
    run_id = tracking.record(result, params.record.experiment, real_root(project))
    files.write_text(recorded, result.tags[tracking.FINGERPRINT] + "\n")
    return run_id


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:6]), params))
