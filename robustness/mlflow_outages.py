"""Run the pipeline in every way that DVC has, with MLflow in every state, and report what is recorded.

python -m robustness.mlflow_outages [NAME ...] runs in a temporary clone of the committed project, with a few small
synthetic images and a tiny network. Each line tells how many runs a store should hold whole, how many it does, and the
seconds that it took.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import requests
import yaml

from robustness import scratch_project
from src.params import load_params
from src.tracking import run_record, run_tags
from src.tracking.local_store import PROCESS_ID
from src.tracking.mlflow_setup import MlflowClient, entities
from src.tracking.tracking_store import local_uri

EXPERIMENT = "retinal-vessels"
EPOCHS, STEPS = 20, 60  # of a training that is long enough for its logger to be killed meanwhile
DATASETS = 3  # inputs of a run: images for training, validation and test
TAGS = (
    *("machine", "cpus", "version.mlflow", "git.commit", "git.dirty", "dvc.lock", run_tags.FINGERPRINT),
    *("md5.data/raw/train", "md5.data/model/model.h5"),
)
FILES = {"metrics", "examples", "pipeline", "per_image.json", "summary.json"}


def prepare(folder: Path) -> Path:
    """Clone the committed project to `folder`, with small parameters; returns `folder`."""
    call("git", "clone", "--quiet", Path.cwd(), folder, where=Path.cwd())
    scratch_project.write_params(folder, scratch_project.TINY, {"baselines": {"filters": []}})
    commit(folder)
    return folder


def commit(folder: Path) -> None:
    """Commit all of a folder."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    call("git", "add", "-A", where=folder)
    call("git", *identity, "commit", "--quiet", "-m", "small", where=folder)


def call(*command: str | Path, where: Path, uri: str | None = None) -> str:
    """Run a command in a folder; returns what it printed, or exits with that."""
    with tempfile.TemporaryFile("w+") as output:  # no pipe: the workers of `dvc queue start` would hold it open
        done = subprocess.run(command, cwd=where, env=environment(uri), stdout=output, stderr=subprocess.STDOUT)
        output.seek(0)
        if done.returncode:
            sys.exit(output.read())
        return output.read()


def environment(uri: str | None) -> dict[str, str]:
    """Return the variables of this process, with another store."""
    hidden = ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "TRACKING_LIVE")
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    return variables | ({} if uri is None else {"MLFLOW_TRACKING_URI": uri})


def whole_runs(uri: str) -> list[entities.Run]:
    """Return the runs of a store that hold all that a run should; print what others lack."""
    client, found = MlflowClient(uri, registry_uri=uri), []
    experiment = client.get_experiment_by_name(EXPERIMENT)
    for run in client.search_runs([experiment.experiment_id]) if experiment else []:
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        steps = [point.step for point in client.get_metric_history(run.info.run_id, "training.loss")]
        checks = {
            "status": run.info.status == "FINISHED",
            "params": run.data.params.keys() == run_record.flatten(load_params().model_dump()).keys(),
            "tags": set(TAGS) <= run.data.tags.keys(),
            "scores": "phantom.f1" in run.data.metrics,
            "learning curves": sorted(steps) == list(range(1, int(run.data.params["train.epochs"]) + 1)),
            "files": files >= FILES,
            "data": len(run.inputs.dataset_inputs) == DATASETS,
            "model": bool(run.outputs.model_outputs),
            "version": bool(client.search_model_versions(f"run_id = '{run.info.run_id}'")),
        }
        missing = [name for name, is_there in checks.items() if not is_there]
        if missing:
            print(f"  run {run.info.run_id} ({run.info.run_name}) lacks {', '.join(missing)}")
        else:
            found.append(run)
    return found


def report(name: str, expected: int, uri: str, begin: float) -> None:
    """Print a line of the result; exit where a run is missing."""
    found = whole_runs(uri)
    live = sum(1 for run in found if any(key.startswith("system/") for key in run.data.metrics))
    names = ", ".join(sorted(run.data.tags.get(run_tags.EXPERIMENT_NAME, "-") for run in found))
    seconds = time.monotonic() - begin
    print(
        f"{name}: {len(found)} of {expected} whole ({names}), {live} with system metrics, {seconds:.0f} s", flush=True
    )
    if len(found) != expected:
        sys.exit(1)


def delete_store(folder: Path) -> str:
    """Delete the local store of a project; returns its URI."""
    for path in (*folder.glob("mlflow.db*"), *folder.glob("mlruns")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return local_uri(folder)


def plain(folder: Path) -> None:
    """`dvc repro`, and again with nothing to do, and again by force."""
    uri, begin = delete_store(folder), time.monotonic()
    call("dvc", "repro", where=folder)
    report("plain", 1, uri, begin)
    call("dvc", "repro", "--force", where=folder)
    report("plain, the same state twice", 1, uri, begin)


def restored(folder: Path) -> None:
    """Parameters that return: train and evaluate are restored from DVC's cache."""
    call("dvc", "exp", "run", "-S", "loss.gamma=3", where=folder)
    uri, begin = delete_store(folder), time.monotonic()
    output = call("dvc", "exp", "run", "-S", "loss.gamma=2.0", where=folder)
    if "'train' is cached" not in output:
        print("  train was not restored")
    report("restored from DVC's cache", 1, uri, begin)


def temp(folder: Path) -> None:
    """`dvc exp run --temp` without a database."""
    uri, begin = delete_store(folder), time.monotonic()
    call("dvc", "exp", "run", "--temp", "-S", "loss.gamma=4", where=folder)
    report("--temp", 1, uri, begin)


def queue(folder: Path) -> None:
    """Four experiments, two workers, no database."""
    uri, begin = delete_store(folder), time.monotonic()
    call("dvc", "exp", "run", "-S", "loss.gamma=5,6,7,8", "--queue", where=folder)
    call("dvc", "queue", "start", "-j", "2", where=folder)
    while any(word in call("dvc", "queue", "status", where=folder) for word in ("Queued", "Running")):
        time.sleep(5)
    report("--queue, 4 experiments, 2 workers", 4, uri, begin)


def monorepo(folder: Path) -> None:
    """The project as a subfolder of a repository, `dvc init --subdir`."""
    project = folder.with_name("monorepo") / "models" / "retina"
    left_out = shutil.ignore_patterns(".git", ".dvc", "data", "mlruns", "mlflow.db*")
    shutil.copytree(
        folder, project, ignore=lambda place, names: left_out(place, names) if place == str(folder) else set()
    )
    call("git", "init", "--quiet", where=project.parents[1])
    call("dvc", "init", "--subdir", "--quiet", where=project)
    for kept in ("folder", "fingerprints"):
        (project / "data" / kept).mkdir(parents=True)
        shutil.copy(folder / "data" / kept / "README.md", project / "data" / kept)
    commit(project)
    uri, begin = delete_store(project), time.monotonic()
    call("dvc", "repro", where=project)
    commit(project)
    call("dvc", "exp", "run", "--temp", "-S", "loss.gamma=4", where=project)
    report("subfolder of a monorepo, plain and --temp", 2, uri, begin)


def moved(folder: Path) -> None:
    """A project folder that is moved between two runs, and moved back."""
    delete_store(folder)
    there, begin = folder.with_name("moved"), time.monotonic()
    call("dvc", "exp", "run", "-S", "loss.gamma=3.5", where=folder)
    folder.rename(there)
    call("dvc", "exp", "run", "-S", "loss.gamma=4.5", where=there)
    report("project folder that was moved", 2, local_uri(there), begin)
    print(f"  the old place was left alone: {not folder.exists()}")
    there.rename(folder)


def broken(folder: Path) -> None:
    """A local database that is damaged: the pipeline goes on, and records when it is repaired."""
    delete_store(folder)
    begin = time.monotonic()
    (folder / "mlflow.db").write_text("this is no database")
    print_warnings(call("dvc", "exp", "run", "-S", "loss.gamma=9.5", where=folder))
    uri = delete_store(folder)
    call("dvc", "repro", "--single-item", "--force", "record", where=folder)
    report("damaged database, recorded later", 1, uri, begin)


def killed_logger(folder: Path) -> None:
    """The process of live logging is killed in mid-training: the training does not notice."""
    uri, begin = delete_store(folder), time.monotonic()
    long = ("-S", "loss.gamma=9", "-S", f"train.epochs={EPOCHS}", "-S", f"train.steps_per_epoch={STEPS}")
    training = subprocess.Popen(
        ["dvc", "exp", "run", *long],
        cwd=folder, env=environment(None), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    run = wait_for_epochs(uri, training)
    os.kill(int(run.data.tags[PROCESS_ID]), signal.SIGKILL)
    output = training.communicate()[0]
    print(f"logger killed in mid-training, dvc exited with {training.returncode}")
    print_warnings(output)
    report("logger killed in mid-training (its run lacks the most, as it should)", 1, uri, begin)
    print(f"  its run is {MlflowClient(uri).get_run(run.info.run_id).info.status}, expected KILLED")
    weights = model_hash(folder)
    call("dvc", "repro", "--force", "--single-item", "train", where=folder)
    print(f"  weights equal those of a training that was logged to its end: {model_hash(folder) == weights}")


def wait_for_epochs(uri: str, training: subprocess.Popen[str]) -> entities.Run:
    """Wait until the store shows a running training of at least two epochs; returns its run."""
    database, client = Path(uri.removeprefix("sqlite:///")), None
    while True:
        if database.is_file() and database.stat().st_size:
            client = client or MlflowClient(uri)
            experiment = client.get_experiment_by_name(EXPERIMENT)
            running = "attributes.status = 'RUNNING' AND tags.stage = 'train'"
            for run in client.search_runs([experiment.experiment_id], running) if experiment else []:
                if len(client.get_metric_history(run.info.run_id, "training.loss")) > 1:
                    return run
        if training.poll() is not None:
            sys.exit(f"error: the training ended before its second epoch: {training.communicate()[0]}")
        time.sleep(0.5)


def model_hash(folder: Path) -> str:
    """Return the MD5 of the weights in dvc.lock."""
    lock = yaml.safe_load((folder / "dvc.lock").read_text(encoding="utf-8"))
    return json.dumps([out["md5"] for out in lock["stages"]["train"]["outs"] if out["path"].endswith(".h5")])


def print_warnings(output: str) -> None:
    """Print the lines of an output that warn of MLflow, indented."""
    print("\n".join(f"  {line}" for line in output.splitlines() if "MLflow" in line))


def server_down(folder: Path) -> None:
    """A server that is up; then down while a run is recorded; then up again."""
    uri = delete_store(folder)
    (place := folder.with_name("server")).mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    address, begin = f"http://127.0.0.1:{port}", time.monotonic()
    with server(place, port):
        call("dvc", "exp", "run", "-S", "loss.gamma=8.5", where=folder, uri=address)
        report("server", 1, address, begin)
    begin = time.monotonic()
    print_warnings(call("dvc", "exp", "run", "-S", "loss.gamma=7.5", where=folder, uri=address))
    report("server that is down, the local store", 2, uri, begin)
    with server(place, port):
        for _ in range(2):
            output = call(sys.executable, "-m", "src", "sync", where=folder, uri=address)
            print("  " + output.strip().replace("\n", "\n  "))
        report("server that is up again, after sync", 2, address, begin)


@contextlib.contextmanager
def server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run an MLflow server on loopback in the block."""
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    stores = ["--backend-store-uri", f"sqlite:///{folder}/server.db", "--artifacts-destination", f"{folder}/files"]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, start_new_session=True)
        try:
            while not responds(port):
                if process.poll() is not None:
                    sys.exit(f"error: the server ended: {(folder / 'log').read_text(encoding='utf-8')}")
                time.sleep(0.5)
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # it has workers
            process.wait()


def responds(port: int) -> bool:
    """Whether the server responds."""
    try:
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    except requests.RequestException:
        return False


SCENARIOS: dict[str, Callable[[Path], None]] = {
    "plain": plain,
    "restored": restored,
    "temp": temp,
    "queue": queue,
    "monorepo": monorepo,
    "moved": moved,
    "broken": broken,
    "killed-logger": killed_logger,
    "server-down": server_down,
}


def main() -> int:
    """Run the scenarios that are named, all of them otherwise; return 1 if one ended with too few or too many runs."""
    parser = argparse.ArgumentParser(prog="python -m robustness.mlflow_outages", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SCENARIOS))
    given = parser.parse_args().names
    if unknown := set(given) - set(SCENARIOS):
        parser.error(f"expected some of {', '.join(SCENARIOS)}, got {', '.join(unknown)}")
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        folder = prepare(Path(name) / "project")
        for scenario in given or SCENARIOS:  # each in a process of its own: MLflow keeps a deleted database open
            process = multiprocessing.get_context("spawn").Process(target=SCENARIOS[scenario], args=(folder,))
            process.start()
            process.join()
            failed += process.exitcode != 0
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
