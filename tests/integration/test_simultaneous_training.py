"""Training on several devices or in several processes: workers, the same training twice, a killed experiment."""

import csv
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from robustness import scratch_project
from src.models import losses
from src.models.tensorflow_setup import tf
from src.training import data_loader
from tests.forked_process import ForkedProcess
from tests.integration.train_stage import (
    Results,
    project,
    results,
    run_stage,
    start_stage,
    wait_for_checkpoint,
)
from tests.training import parallel_training
from tests.training.small_training import free_ports, random_patches, small_network, tf_config


def read(table: Path) -> list[dict[str, float]]:
    with table.open(encoding="utf-8") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Results:
    return run_stage(project(tmp_path_factory.mktemp("undisturbed")))


@pytest.mark.slow
@pytest.mark.parametrize("alike", [True, False])
def test_workers_end_with_the_same_files_or_report_that_their_patches_differ(tmp_path, alike):
    roots, ports = [project(tmp_path / name) for name in ("first", "second")], free_ports(2)
    if not alike:
        np.save(roots[1] / "data/augmented/images.npy", random_patches(side=32).images + np.uint8(1))
    processes = [start_stage(root, TF_CONFIG=tf_config(ports, index)) for index, root in enumerate(roots)]
    ends = [process.end() for process in processes]
    if alike:
        assert [code for code, _ in ends] == [0, 0], ends
        assert results(roots[0]) == results(roots[1])
    else:
        assert [code for code, _ in ends] == [1, 1], ends
        assert all("error: TF_CONFIG: expected all 2 workers to have the same patches" in text for _, text in ends)
        assert all(text.splitlines()[-1].endswith("got others at 1") for _, text in ends)


@pytest.mark.slow
def test_same_training_at_the_same_time_harms_no_checkpoint_and_both_end_alike(tmp_path, undisturbed):
    """The first is suspended after an epoch, until the second has ended; then it is killed, and resumed."""
    first, second = (project(tmp_path / ".dvc/tmp/exps/standalone" / name) for name in ("tmp1", "tmp2"))
    suspended = start_stage(first)
    wait_for_checkpoint(tmp_path, suspended.is_running)
    suspended.suspend()
    checkpoints = list(tmp_path.glob("checkpoints/*/*.npz"))
    code, stderr = start_stage(second).end()
    assert (code, results(second)) == (0, undisturbed), stderr
    assert "warning: the same training is running; this one keeps no checkpoints" in stderr
    assert list(tmp_path.glob("checkpoints/*/*.npz")) == checkpoints
    suspended.send(signal.SIGKILL)
    suspended.end()
    code, stderr = start_stage(first).end()
    assert (code, results(first)) == (0, undisturbed), stderr
    assert " 0/12 [" not in stderr  # steps
    assert not list(tmp_path.glob("checkpoints/*"))


DVC = [sys.executable, "-m", "dvc"]
OUTS = ("data/model/model.h5", "metrics/training.csv")


def repository(root: Path) -> Path:
    """A project with stage train alone, committed with its patches, in which DVC can run experiments."""
    project(root)
    outs = [{name: {"cache": False}} for name in OUTS]
    stage = {"cmd": shlex.join(scratch_project.commands()["train"]), "deps": ["params.yaml"], "outs": outs}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"train": stage}}), encoding="utf-8")
    (root / ".gitignore").write_text("/checkpoints\n/logs\n", encoding="utf-8")
    user = ["git", "-c", "user.name=t", "-c", "user.email=t@localhost"]
    for order in (["git", "init", "-q"], [*DVC, "init", "-q"], ["git", "add", "."], [*user, "commit", "-qm", "begin"]):
        subprocess.run(order, cwd=root, check=True, capture_output=True)
    return root


def start_experiment(root: Path) -> subprocess.Popen:
    command = [*DVC, "exp", "run", "--temp"]
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=root, env=scratch_project.environment(), start_new_session=True, **streams)


@pytest.mark.slow
def test_killed_experiment_ends_with_the_same_bytes(tmp_path, undisturbed):
    root = repository(tmp_path)
    process = start_experiment(root)
    wait_for_checkpoint(root, lambda: process.poll() is None)
    os.killpg(process.pid, signal.SIGKILL)  # DVC, its shell and the stage
    process.communicate()
    assert list(root.glob("checkpoints/*/*.npz"))
    process = start_experiment(root)
    stderr = process.communicate()[1]
    assert process.returncode == 0, stderr
    assert "/12 [" in stderr  # steps
    assert " 0/12 [" not in stderr
    git = ["git", "for-each-ref", "--format=%(objectname)", "refs/exps"]
    (commit, *_) = subprocess.run(git, cwd=root, check=True, capture_output=True, text=True).stdout.split()
    outs = [
        subprocess.run(["git", "show", f"{commit}:{name}"], cwd=root, check=True, capture_output=True) for name in OUTS
    ]
    assert tuple(done.stdout for done in outs) == undisturbed
    assert not list(root.glob("checkpoints/*"))


@pytest.mark.slow
def test_two_replicas_learn_what_one_does(tmp_path):
    code, stderr = ForkedProcess(tmp_path / "log", parallel_training.train_on_one_and_on_two_devices, tmp_path).end()
    assert code == 0, stderr
    one, two = read(tmp_path / "one.csv"), read(tmp_path / "two.csv")
    assert one[0]["loss"] != one[-1]["loss"]
    for row_of_one, row_of_two in zip(one, two, strict=True):
        assert row_of_one == pytest.approx(row_of_two, abs=1e-5)
    # A loss of sums is that of each replica's half of the batch, not that of the whole.
    images, target = next(iter(data_loader.training_dataset(random_patches(), 4, 1)))
    truth, probability = target[..., 0], small_network()(images)[..., 0]
    whole, first, second = (
        float(losses.dice_loss(truth[part], probability[part], tf.ones_like(truth[part])))
        for part in (slice(4), slice(2), slice(2, 4))
    )
    halves = (first + second) / 2
    assert read(tmp_path / "dice.csv")[0]["loss"] == pytest.approx(halves, abs=1e-5)
    assert abs(whole - halves) > 1e-4


@pytest.mark.slow
def test_two_workers_learn_what_one_does(tmp_path):
    tables = {}
    for name, ports in (("one", free_ports(1)), ("two", free_ports(2))):
        tables[name] = [tmp_path / f"{name}_{index}.csv" for index in range(len(ports))]
        processes = [
            ForkedProcess(
                table.with_suffix(".log"),
                parallel_training.train_as_worker,
                table,
                len(ports),
                TF_CONFIG=tf_config(ports, index),
            )
            for index, table in enumerate(tables[name])
        ]
        for code, stderr in [process.end() for process in processes]:
            assert code == 0, stderr
    (alone,), (first, second) = (map(read, paths) for paths in tables.values())
    assert first == second
    for row_alone, row_of_first in zip(alone, first, strict=True):
        assert row_alone == pytest.approx(row_of_first, abs=1e-5)
