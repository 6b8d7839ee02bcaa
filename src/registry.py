"""The registered model: `python -m src.registry promote RUN_OR_VERSION` makes a version the champion, `list` shows all.

A version becomes champion only where the regression gate finds no gated score worse than the champion's, image by image
on the same test sets. Exit codes:

0: it is the champion now.
1: refused: a score fell, is missing or undefined, or the test sets or the rule for the threshold are others.
2: there is nothing to judge: no such version, no store, files of a run missing or not those of its dvc.lock.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from src import freshness, regression, stores, versions
from src.markdown import table
from src.params import Regression, load_params, load_regression
from src.quiet import MlflowException, ModelVersion, mlflow
from src.revisions import Tree
from src.root import real_root

FOLDERS = ("metrics", "pipeline")  # of the files of a run
HEAD = ("version", "alias", "run", "commit", "scores")


def promote(client: mlflow.MlflowClient, name: str, given: str, gate: Regression) -> tuple[bool, str]:
    """Make the version `given`, by number or run, champion unless it is worse; whether it is, and why, in Markdown.

    Raises:
        ValueError: there is nothing to judge, and why.
    """
    version, champion = versions.find(client, name, given), versions.champion(client, name)
    label = f"Version {version.version} of `{name}`"
    with tempfile.TemporaryDirectory() as folder:
        after = read(client, version, Path(folder) / "after")
        if champion is None:
            _appoint(client, version)
            return True, f"{label} is the first champion: there was none to compare it with."
        if champion.version == version.version:
            return True, f"{label} is the champion already."
        result = regression.compare(read(client, champion, Path(folder) / "before"), after, gate)
    report = regression.as_markdown(result, f"version {champion.version}, the champion", f"version {version.version}")
    if result.failed():
        return False, f"{report}\n\n{label} is refused; version {champion.version} stays the champion."
    _appoint(client, version)
    return True, f"{report}\n\n{label} is the champion now, after version {champion.version}."


def read(client: mlflow.MlflowClient, version: ModelVersion, folder: Path) -> regression.Side:
    """What the run of a version kept of its scores, fetched to `folder`.

    Raises:
        ValueError: a file is missing, or its metrics are not those of its dvc.lock.
    """
    name = f"version {version.version}"
    folder.mkdir()
    for part in FOLDERS:
        try:
            client.download_artifacts(version.run_id, part, str(folder))
        except (MlflowException, OSError) as error:
            reason = _line(error)
            raise ValueError(f"{name}: expected {part}/ among the files of run {version.run_id}: {reason}") from error
    lock = folder / FOLDERS[1] / freshness.LOCK
    if lock.exists():
        lock.rename(folder / freshness.LOCK)
    tree = Tree(name, None, folder)
    side = regression.read(tree)
    altered = freshness.altered(tree, side.lock, regression.TABLES)
    if altered:
        raise ValueError(altered[0])
    return side


def overview(client: mlflow.MlflowClient, name: str) -> str:
    """A Markdown table of all versions, with the scores that their tags hold."""
    champion = versions.champion(client, name)
    rows = []
    for version in versions.every(client, name):
        scores = ", ".join(f"{k} {v}" for k, v in sorted(version.tags.items()) if k.endswith((".f1", ".auc_roc")))
        alias = versions.CHAMPION if champion is not None and champion.version == version.version else ""
        commit = version.tags.get("git.commit", "-")
        rows.append((str(version.version), alias, version.run_id, commit, scores))
    return table(HEAD, rows)


def _appoint(client: mlflow.MlflowClient, version: ModelVersion) -> None:
    client.set_registered_model_alias(version.name, versions.CHAMPION, version.version)


def _refuse_missing_store(uri: str) -> None:
    path = stores.sqlite_path(uri)
    if path and not Path(path).is_file():
        raise ValueError(f"{stores.shown(uri)}: expected an MLflow store with recorded runs, found none")


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def main(arguments: list[str]) -> int:
    """Promote a version or list all; 0, 1 where it is refused, 2 with one sentence where there is nothing to judge."""
    parser = argparse.ArgumentParser(prog="python -m src.registry", description=__doc__.split("\n", maxsplit=1)[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("promote").add_argument("given", metavar="RUN_OR_VERSION")
    commands.add_parser("list")
    given = parser.parse_args(arguments)
    try:
        name, gate = load_params().record.registered_model, load_regression()
        root = real_root(Path())
        uri = stores.store(root)
        _refuse_missing_store(uri)
        with stores.held(uri, root):
            client = mlflow.MlflowClient(uri)
            if given.command == "list":
                print(overview(client, name))
                return 0
            promoted, report = promote(client, name, given.given, gate)
    except (ValueError, OSError, MlflowException, SQLAlchemyError) as error:
        print(_line(error), file=sys.stderr)
        return 2
    print(report)
    return int(not promoted)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
