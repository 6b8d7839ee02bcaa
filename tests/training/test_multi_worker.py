import json
import sys
from pathlib import Path

import pytest
import yaml

from src.training import multi_worker
from src.training.multi_worker import Cluster
from tests.integration import stage_runs

TWO = {"worker": ["a:1", "b:1"]}
WITH_CHIEF = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}


@pytest.fixture
def read_value(monkeypatch):
    """Reads the cluster of a value of TF_CONFIG: text, or what JSON holds."""

    def read(value: object) -> Cluster:
        monkeypatch.setenv("TF_CONFIG", value if isinstance(value, str) else json.dumps(value))
        return multi_worker.read_cluster()

    return read


def test_process_without_the_variable_is_alone(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    assert multi_worker.read_cluster() == Cluster(1, True)


@pytest.mark.parametrize("value", ["", {}, {"task": {"type": "worker", "index": 0}}, {"cluster": {}}])
def test_process_is_alone_where_no_worker_is_listed(read_value, value):
    assert read_value(value) == Cluster(1, True)


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
def test_chief_or_else_worker_0_is_the_first(read_value, jobs, type_, index, expected):
    assert read_value({"cluster": jobs, "task": {"type": type_, "index": index}}) == expected


def test_one_worker_needs_no_task(read_value):
    assert read_value({"cluster": {"worker": ["a:1"]}}) == Cluster(1, True)


@pytest.mark.parametrize(
    ("value", "message"),
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
def test_invalid_value_is_rejected_with_what_was_expected_and_found(read_value, value, message):
    with pytest.raises(ValueError, match=f"^TF_CONFIG: expected JSON such as {{.*}}; {message}"):
        read_value(value)


@pytest.mark.filterwarnings("ignore:'stages:RuntimeWarning")  # where another test imported it
@pytest.mark.parametrize("live_logging", ["true", "false"])
def test_stage_ends_with_that_message(tmp_path, monkeypatch, live_logging):
    (tmp_path / "params.yaml").write_bytes(Path("params.yaml").read_bytes())
    command = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"]["train"]["cmd"]
    monkeypatch.setenv("TF_CONFIG", "worker 0")
    monkeypatch.setenv("TRACKING_LIVE", live_logging)
    monkeypatch.setattr(sys, "argv", [])
    with pytest.raises(SystemExit) as ended:
        stage_runs.run(str(tmp_path), command)
    assert ended.value.code.startswith("error: TF_CONFIG: expected JSON such as")
    assert "\n" not in ended.value.code


def test_workers_with_different_fingerprints_are_rejected():
    multi_worker.check_same_fingerprint(["ab", "ab"])
    with pytest.raises(ValueError, match=r"TF_CONFIG: expected all 3 workers .* worker 0, got others at 1$"):
        multi_worker.check_same_fingerprint(["ab", "cd", "ab"])
