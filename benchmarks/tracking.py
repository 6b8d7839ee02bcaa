"""Run the pipeline in every way that DVC has, with MLflow in every state, and say what is recorded.

python -m benchmarks.tracking [NAME ...]: in a temporary clone of the committed project, with a few small phantoms and a
tiny network. Each line says how many runs MLflow should hold whole, how many it does, and the seconds that it took.
"""

import argparse
import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pandas as pd
import requests
import yaml

from benchmarks import projects
from src import runs
from src.params import load_params

EXPERIMENT = "retinal-vessels"
EPOCHS, STEPS = 20, 60  # of a training that is long enough for its server to be killed meanwhile
TAGS = (
    *("machine", "cpus", "version.mlflow", "git.commit", "git.dirty", "dvc.lock", "fingerprint"),
    *("md5.data/raw/train", "md5.data/model/model.h5"),
)


def prepare(folder: Path) -> Path:
    """Clone the committed project to `folder`, with small parameters; returns `folder`."""
    call("git", "clone", "--quiet", Path.cwd(), folder, where=Path.cwd())
    projects.write_params(folder, projects.TINY, {"baselines": {"filters": []}})
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all of a folder, as somebody."""
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    call("git", "add", "-A", where=folder)
    call("git", *who, "commit", "--quiet", "-m", "small", where=folder)


def call(*command: str | Path, where: Path, uri: str | None = None) -> str:
    """Run a command in a folder; returns what it printed, or ends with it."""
    with tempfile.TemporaryFile("w+") as said:  # no pipe: the workers of `dvc queue start` would hold it open
        done = subprocess.run(command, cwd=where, env=environment(uri), stdout=said, stderr=subprocess.STDOUT)
        said.seek(0)
        if done.returncode:
            sys.exit(said.read())
        return said.read()


def environment(uri: str | None) -> dict[str, str]:
    """That of this process, with another store."""
    variables = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return variables | ({} if uri is None else {"MLFLOW_TRACKING_URI": uri})


def whole(uri: str) -> list[mlflow.entities.Run]:
    """The runs of a store that hold all that a run should; says what others lack."""
    client, found = mlflow.MlflowClient(uri), []
    experiment = client.get_experiment_by_name(EXPERIMENT)
    for run in client.search_runs([experiment.experiment_id]) if experiment else []:
        files = {every.path for every in client.list_artifacts(run.info.run_id)}
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "training.loss")]
        wanted = {
            "finished": run.info.status == "FINISHED",
            "params": run.data.params.keys() == runs.flatten(load_params().model_dump()).keys(),
            "tags": set(TAGS) <= run.data.tags.keys(),
            "scores": "phantom.fov.f1" in run.data.metrics,
            "curves": steps == list(range(1, int(run.data.params["train.epochs"]) + 1)),
            "files": {"metrics", "examples", "pipeline", "per_image.json"} <= files,
            "data": len(run.inputs.dataset_inputs) == 3,
            "model": bool(run.outputs.model_outputs),
        }
        lacks = [name for name, there in wanted.items() if not there]
        if lacks:
            print(f"  run {run.info.run_id} ({run.info.run_name}) lacks {', '.join(lacks)}")
        else:
            found.append(run)
    return found


def say(name: str, expected: int, uri: str, begin: float) -> None:
    """A line of the result."""
    found = whole(uri)
    watched = sum(1 for run in found if any(key.startswith("system/") for key in run.data.metrics))
    names = sorted(run.data.tags.get("DVC_EXP_NAME", "-") for run in found)
    seconds = time.monotonic() - begin
    print(
        f"{name}: {len(found)} of {expected} whole ({', '.join(names)}), {watched} with system metrics, {seconds:.0f} s"
    )


def forget(folder: Path) -> str:
    """Delete the store of a project; returns its URI."""
    for path in (*folder.glob("mlflow.db*"), *folder.glob("mlruns"), *folder.glob(".tracking")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return f"sqlite:///{folder / 'mlflow.db'}"


def plain(folder: Path) -> None:
    """`dvc repro`, and again with nothing to do, and again by force."""
    uri, begin = forget(folder), time.monotonic()
    call("dvc", "repro", where=folder)
    say("plain", 1, uri, begin)
    call("dvc", "repro", "--force", where=folder)
    say("plain, the same state twice", 1, uri, begin)


def restored(folder: Path) -> None:
    """Parameters that return: train and evaluate are restored from DVC's cache."""
    call("dvc", "exp", "run", "-S", "loss.gamma=3", where=folder)
    uri, begin = forget(folder), time.monotonic()
    said = call("dvc", "exp", "run", "-S", "loss.gamma=2.0", where=folder)
    if "'train' is cached" not in said:
        print("  train was not restored")
    say("restored from DVC's cache", 1, uri, begin)


def temp(folder: Path) -> None:
    """`dvc exp run --temp` on no database."""
    uri, begin = forget(folder), time.monotonic()
    call("dvc", "exp", "run", "--temp", "-S", "loss.gamma=4", where=folder)
    say("--temp", 1, uri, begin)


def queue(folder: Path) -> None:
    """Four experiments, two workers, no database."""
    uri, begin = forget(folder), time.monotonic()
    call("dvc", "exp", "run", "-S", "loss.gamma=5,6,7,8", "--queue", where=folder)
    call("dvc", "queue", "start", "-j", "2", where=folder)
    while any(word in call("dvc", "queue", "status", where=folder) for word in ("Queued", "Running")):
        time.sleep(5)
    say("--queue, 4 experiments, 2 workers", 4, uri, begin)


def monorepo(folder: Path) -> None:
    """The project as a subfolder of a repository, `dvc init --subdir`."""
    project = folder.with_name("monorepo") / "models" / "retina"
    shutil.copytree(folder, project, ignore=shutil.ignore_patterns(".git", ".dvc", "data", "mlruns", "mlflow.db*"))
    call("git", "init", "--quiet", where=project.parents[1])
    call("dvc", "init", "--subdir", "--quiet", where=project)
    (project / "data" / "folder").mkdir(parents=True)
    shutil.copy(folder / "data" / "folder" / "README.md", project / "data" / "folder")
    commit(project)
    uri, begin = forget(project), time.monotonic()
    call("dvc", "repro", where=project)
    commit(project)
    call("dvc", "exp", "run", "--temp", "-S", "loss.gamma=4", where=project)
    say("subfolder of a monorepo, plain and --temp", 2, uri, begin)


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen]:
    """A server of MLflow on loopback."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, start_new_session=True)
        try:
            while not answers(port):
                time.sleep(0.5)
            yield process
        finally:
            stop(process)


def answers(port: int) -> bool:
    """Whether the server is there."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


def stop(process: subprocess.Popen) -> None:
    """End the server with all of its processes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, 9)
    process.wait()


def served(folder: Path) -> None:
    """A server; then one that is killed in mid-training and comes back."""
    (place := folder.with_name("server")).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    long = ("-S", "loss.gamma=9", "-S", f"train.epochs={EPOCHS}", "-S", f"train.steps_per_epoch={STEPS}")
    with server(place, port) as process:
        begin = time.monotonic()
        call("dvc", "exp", "run", "-S", "loss.gamma=8.5", where=folder, uri=uri)
        say("server", 1, uri, begin)
        begin = time.monotonic()
        training = subprocess.Popen(
            ["dvc", "exp", "run", *long],
            cwd=folder, env=environment(uri), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        seen = until_watched(uri)
        stop(process)
        said = training.communicate()[0]
    rows = len(pd.read_csv(folder / "metrics" / "training.csv"))
    print(
        f"killed at epoch {seen} of {rows}, dvc ended with {training.returncode} after {time.monotonic() - begin:.0f} s"
    )
    print("\n".join(f"  {line}" for line in said.splitlines() if "MLflow" in line))
    weights = model_hash(folder)
    with server(place, port):
        print("  " + call(sys.executable, "-m", "src.outbox", where=folder, uri=uri).strip().replace("\n", "\n  "))
        print("  " + call(sys.executable, "-m", "src.outbox", where=folder, uri=uri).strip())
        say("server killed in mid-training, sent later", 2, uri, begin)
    call("dvc", "repro", "--force", "--single-item", "train", where=folder)
    print(f"  weights as of a training with no server in its way: {model_hash(folder) == weights}")


def until_watched(uri: str) -> int:
    """Wait until MLflow shows a running training of at least two epochs; returns how many."""
    client = mlflow.MlflowClient(uri)
    while True:
        experiment = client.get_experiment_by_name(EXPERIMENT)
        for run in client.search_runs([experiment.experiment_id], "attributes.status = 'RUNNING'"):
            points = client.get_metric_history(run.info.run_id, "training.loss")
            if len(points) > 1 and run.data.tags.get("stage") == "train":
                return len(points)
        time.sleep(0.5)


def model_hash(folder: Path) -> str:
    """MD5 of the weights, as dvc.lock has it."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    return json.dumps([out["md5"] for out in lock["stages"]["train"]["outs"] if out["path"].endswith(".h5")])


WAYS = {"plain": plain, "restored": restored, "temp": temp, "queue": queue, "monorepo": monorepo, "served": served}


def main() -> None:
    """Run the ways that are named, all of them otherwise."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tracking", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(WAYS))
    given = parser.parse_args().names
    if unknown := set(given) - set(WAYS):
        parser.error(f"expected some of {', '.join(WAYS)}, got {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as name:
        folder = prepare(Path(name) / "project")
        for way in given or WAYS:
            WAYS[way](folder)


if __name__ == "__main__":
    main()
