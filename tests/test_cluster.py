import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from src import cluster
from src.cluster import Cluster

TWO = {"worker": ["a:1", "b:1"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


@pytest.fixture
def named(monkeypatch):
    """What is read of a value of TF_CONFIG: text, or what JSON holds."""

    def read(value: object) -> Cluster:
        monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))
        return cluster.read()

    return read


def test_process_without_the_variable_is_alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert cluster.read() == Cluster(1, True)


@pytest.mark.parametrize("value", ["", {}, {"task": {"type": "worker", "index": 0}}, {"cluster": {}}])
def test_process_is_alone_where_no_worker_is_named(named, value):
    assert named(value) == Cluster(1, True)


@pytest.mark.parametrize(
    ("jobs", "type_", "index", "expected"),
    [
        (TWO, "worker", 0, Cluster(2, True)),
        (TWO, "worker", 1, Cluster(2, False)),
        (WITH_CHIEF, "chief", 0, Cluster(3, True)),
        (WITH_CHIEF, "worker", 0, Cluster(3, False)),
        ({"worker": ["a:1"]}, "worker", 0, Cluster(1, True)),
    ],
)
def test_workers_are_counted_and_the_chief_or_else_worker_0_is_the_first(named, jobs, type_, index, expected):
    assert named({"cluster": jobs, "task": {"type": type_, "index": index}}) == expected


def test_one_worker_needs_no_task(named):
    assert named({"cluster": {"worker": ["a:1"]}}) == Cluster(1, True)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("worker 0 of 2", "expected an object of JSON, such as {.*}, found worker 0 of 2"),
        ([1], r"expected an object of JSON, such as {.*}, found \[1\]"),
        ({"cluster": ["a:1"]}, r'expected cluster to be an object with the keys chief and worker, found \["a:1"\]'),
        ({"cluster": {"ps": ["a:1"]}}, "expected cluster to be an object with the keys chief and worker, found {.*}"),
        ({"cluster": {"worker": "a:1"}}, r"expected cluster.worker to be a list of addresses, .*, found a:1"),
        ({"cluster": {"worker": []}}, r"expected cluster.worker to be a list of addresses, .*, found \[\]"),
        ({"cluster": {"worker": [1]}}, r"expected cluster.worker to be a list of addresses, .*, found \[1\]"),
        ({"cluster": TWO}, "expected task to be an object whose type is worker, found null"),
        ({"cluster": TWO, "task": 0}, "expected task to be an object whose type is worker, found 0"),
        ({"cluster": TWO, "task": {"type": ["worker"]}}, "expected task to be an object whose type is worker, found"),
        ({"cluster": WITH_CHIEF, "task": {"type": "ps"}}, "expected task to be .* is chief or worker, found"),
        (
            {"cluster": TWO, "task": {"type": "worker"}},
            "expected task.index to be a whole number from 0 to 1, found null",
        ),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "expected task.index to be .* from 0 to 1, found 2"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "0"}}, "expected task.index to be .* 0 to 1, found 0"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, "expected task.index to be .* 0 to 1, found -1"),
    ],
)
def test_broken_value_is_refused_with_what_was_expected_and_found(named, value, sentence):
    with pytest.raises(ValueError, match=f"^TF_CONFIG: {sentence}"):
        named(value)


@pytest.mark.parametrize("watched", ["true", "false"])
def test_stage_ends_with_that_sentence(tmp_path, watched):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"].split()
    environment = {"PYTHONPATH": str(Path.cwd()), "TF_CONFIG": "worker 0", "TRACKING_LIVE": watched}
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=tmp_path, env=os.environ | environment, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: TF_CONFIG: expected an object of JSON")
    assert "Traceback" not in done.stderr
