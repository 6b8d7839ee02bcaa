import os
import platform
from pathlib import Path

from src.common.processor import available_cores, describe_processor


def test_cores_are_those_of_the_affinity(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 2, 5}, raising=False)
    assert available_cores() == 3


def test_cores_are_those_of_the_machine_where_there_is_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert available_cores() == 1


def test_processor_is_described_by_its_features():
    machine, _, *lines = describe_processor()
    assert machine == platform.machine()
    assert not Path("/proc/cpuinfo").exists() or any(line.startswith(("flags", "Features")) for line in lines)
