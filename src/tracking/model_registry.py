"""Command `registry`: list the versions of the registered model, and promote one to champion."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from src.common.command_line import ManualFormatter, command_parser
from src.common.markdown import table
from src.common.project_root import real_root
from src.evaluation import gate_inputs, gate_report, gate_verdict, pipeline_status
from src.evaluation.gate_inputs import CommittedRun
from src.evaluation.git_revisions import FileTree
from src.params import RegressionGate, load_params, load_regression_gate
from src.tracking import model_versions
from src.tracking.mlflow_setup import MlflowClient, MlflowException, ModelVersion
from src.tracking.tracking_store import (
    TrackingError,
    first_line,
    open_store,
    readable_errors,
    sqlite_path,
    tracking_uri,
)

PIPELINE = "pipeline"  # folder of the files of a run that name its data and settings
FOLDERS = ("metrics", PIPELINE)
HEAD = ("version", "alias", "run", "commit", "scores")
LISTED_SCORES = (".f1", ".auc_roc")  # ends of their names
DESCRIPTION = """
List the versions of the registered model, or promote one to champion.

A version is registered for each recorded run. It becomes the champion only where the regression gate finds no gated
score worse than the champion's, image by image on the same test sets. The first champion is not compared.

The registry is that of the local MLflow store, or of the store that the environment variable MLFLOW_TRACKING_URI
names. Name and gate are record.registered_model_name and section `regression_gate` of params.yaml.
"""
EXIT_CODES = {
    0: "the versions are listed, or the version is the champion now",
    1: "the version stays as it is: a score is worse, missing or undefined, or the test sets or the rule for the "
    "threshold differ",
    2: "there is nothing to judge: no such version, no store, files of a run missing or not those of its dvc.lock",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """List the versions or promote one; returns the exit code."""
    parser = command_parser("registry", DESCRIPTION, EXIT_CODES, ("list", "promote 3"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="list|promote")
    commands.add_parser("list", help="print all versions and their scores", formatter_class=ManualFormatter)
    promoting = commands.add_parser("promote", help="make a version the champion", formatter_class=ManualFormatter)
    promoting.add_argument("version", metavar="VERSION", help="its number, or the id of its run")
    given = parser.parse_args(arguments)
    root = real_root(Path())
    uri = tracking_uri(root)
    try:
        name, gate = load_params().record.registered_model_name, load_regression_gate()
        _check_exists(uri)
        with open_store(uri, root) as client:
            if given.command == "list":
                print(overview(client, name))
                return 0
            promoted, report = promote(client, name, given.version, gate)
    except (ValueError, OSError, MlflowException, SQLAlchemyError) as error:
        print(f"error: {first_line(error)}", file=sys.stderr)
        return 2
    print(report)
    return int(not promoted)


def promote(client: MlflowClient, name: str, given: str, gate: RegressionGate) -> tuple[bool, str]:
    """Make a version the champion unless it is worse; returns whether it is, and why, in Markdown.

    Args:
        client: of the store.
        name: the registered model.
        given: number of the version, or id of its run.
        gate: the scores that are compared.

    Raises:
        ValueError: there is nothing to judge, and why.
    """
    version, champion = model_versions.find_version(client, name, given), model_versions.find_champion(client, name)
    label = f"Version {version.version} of `{name}`"
    with tempfile.TemporaryDirectory() as folder:
        after = download_results(client, version, Path(folder) / "after")
        if champion is None:
            _set_champion_alias(client, version)
            return True, f"{label} is the first champion: there was none to compare it with."
        if champion.version == version.version:
            return True, f"{label} is the champion already."
        before = download_results(client, champion, Path(folder) / "before")
    result = gate_verdict.judge_runs(before, after, gate)
    report = gate_report.as_markdown(result, f"version {champion.version}, the champion", f"version {version.version}")
    if result.failed:
        return False, f"{report}\n\n{label} is not promoted; version {champion.version} stays the champion."
    _set_champion_alias(client, version)
    return True, f"{report}\n\n{label} is the champion now, after version {champion.version}."


def download_results(client: MlflowClient, version: ModelVersion, folder: Path) -> CommittedRun:
    """Download the tables of the run of a version to `folder`.

    Raises:
        ValueError: a file is missing, or its metrics are not those of its dvc.lock.
    """
    name, run_id = f"version {version.version}", str(version.run_id)
    folder.mkdir()
    for part in FOLDERS:
        try:
            with readable_errors(client.tracking_uri):
                client.download_artifacts(run_id, part, str(folder))
        except TrackingError as error:
            raise ValueError(f"{name}: expected {part}/ among the files of run {run_id}: {error}") from error
    lock = folder / PIPELINE / pipeline_status.LOCK
    if lock.exists():
        lock.rename(folder / pipeline_status.LOCK)
    tree = FileTree(name, None, folder)
    results = gate_inputs.read_run(tree)
    altered = pipeline_status.changed_since_lock(tree, results.lock, gate_inputs.TABLES)
    if altered:
        raise ValueError(altered[0])
    return results


def overview(client: MlflowClient, name: str) -> str:
    """Return a Markdown table of all versions, with the scores in their tags."""
    champion = model_versions.find_champion(client, name)
    rows = []
    for version in model_versions.all_versions(client, name):
        scores = ", ".join(f"{key} {value}" for key, value in sorted(version.tags.items()) if _is_listed(key))
        alias = model_versions.CHAMPION if champion is not None and champion.version == version.version else ""
        rows.append((str(version.version), alias, str(version.run_id), version.tags.get("git.commit", "-"), scores))
    return table(HEAD, rows)


def _is_listed(tag: str) -> bool:
    return tag.endswith(LISTED_SCORES)


def _set_champion_alias(client: MlflowClient, version: ModelVersion) -> None:
    client.set_registered_model_alias(version.name, model_versions.CHAMPION, str(version.version))


def _check_exists(uri: str) -> None:
    path = sqlite_path(uri)
    if path and not Path(path).is_file():
        raise ValueError(f"{path}: expected an MLflow store with recorded runs, found none; `dvc repro` records one")
