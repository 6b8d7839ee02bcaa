"""Hand the run to MLflow."""

import sys
from pathlib import Path

from src import files, logged_model, outbox, runs, samples
from src.cli import run
from src.params import Params
from src.predictor import Views
from src.root import real_root


def main(
    metrics: Path, examples: Path, model: Path, test: Path, recorded: Path, params: Params, project: Path = Path()
) -> str | None:
    """Record params, data, code, curves, scores, pictures and model as one MLflow run; returns its id.

    Where MLflow does not take it, it is kept for later, and there is no id: nothing fails for that, unless it cannot
    be kept either. The fingerprint of the state goes to `recorded`, which git does not track: a fresh clone has it not
    and records.
    """
    network = None
    if params.record.model:
        photograph, name = samples.image(samples.find(test)[0]), params.record.registered_model
        how = settings(params), name, logged_model.CODE, logged_model.requirements()
        network = runs.Model(model, photograph, *how)
    places = runs.Places(project, metrics, examples, test.parent, model)
    result = runs.gather(places, params.model_dump(), network)
    run_id = outbox.deliver(result, params.record.experiment, real_root(project))
    files.write_text(recorded, result.tags[runs.FINGERPRINT] + "\n")
    return run_id


def settings(params: Params) -> dict:
    """How the logged model prepares and predicts photographs: as `evaluate` does."""
    return params.preprocess.model_dump() | params.evaluate.model_dump(include=set(Views._fields))


if __name__ == "__main__":
    run(lambda params: main(*map(Path, sys.argv[1:6]), params))
