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
        ("worker 0 of 2", "all: Invalid JSON: .*, got 'worker 0 of 2'"),
        ([1], r"all: .*, got \[1\]"),
        ({"cluster": ["a:1"]}, r"cluster: .*, got \['a:1'\]"),
        ({"cluster": {"ps": ["a:1"]}}, r"cluster\.ps.*: Input should be 'chief' or 'worker', got 'ps'"),
        ({"cluster": {"worker": "a:1"}}, r"cluster\.worker: .* array, got 'a:1'"),
        ({"cluster": {"worker": []}}, r"cluster\.worker: .* at least 1 item .*, got \[\]"),
        ({"cluster": {"worker": [1]}}, r"cluster\.worker\.0: .* string, got 1"),
        ({"cluster": TWO}, "task: missing"),
        ({"cluster": TWO, "task": 0}, "task: .*, got 0"),
        ({"cluster": TWO, "task": {"type": ["worker"], "index": 0}}, r"task\.type: .*, got \['worker'\]"),
        ({"cluster": WITH_CHIEF, "task": {"type": "ps", "index": 0}}, r"task\.type: .*'chief' or 'worker', got 'ps'"),
        ({"cluster": TWO, "task": {"type": "worker"}}, r"task\.index: Field required"),
        ({"cluster": TWO, "task": {"type": "worker", "index": 2}}, "task: expected one of cluster, got worker 2"),
        ({"cluster": TWO, "task": {"type": "chief", "index": 0}}, "task: expected one of cluster, got chief 0"),
        ({"cluster": TWO, "task": {"type": "worker", "index": "0"}}, r"task\.index: .* integer, got '0'"),
        ({"cluster": TWO, "task": {"type": "worker", "index": -1}}, r"task\.index: .* 0, got -1"),
    ],
)
def test_broken_value_is_refused_with_what_was_expected_and_found(named, value, sentence):
    with pytest.raises(ValueError, match=f"^TF_CONFIG: expected JSON such as {{.*}}; {sentence}"):
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
    assert done.stderr.splitlines()[-1].startswith("error: TF_CONFIG: expected JSON such as")
    assert "Traceback" not in done.stderr


def test_workers_that_would_train_from_different_things_are_refused():
    cluster.refuse_other_recipes(["ab", "ab"])
    with pytest.raises(ValueError, match=r"TF_CONFIG: expected all 3 workers .* worker 0, got others at 1$"):
        cluster.refuse_other_recipes(["ab", "cd", "ab"])
