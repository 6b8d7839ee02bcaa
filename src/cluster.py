"""The workers that train one network together, as the variable TF_CONFIG names them."""

import json
import os
from typing import Any, NamedTuple

VARIABLE = "TF_CONFIG"
JOBS = ("chief", "worker")
EXAMPLE = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'


class Cluster(NamedTuple):
    """How many workers there are, and whether this process is the first of them."""

    workers: int = 1
    first: bool = True


def read() -> Cluster:
    """The cluster of TF_CONFIG; this process alone where that is not set.

    Raises:
        ValueError: it names none that TensorFlow can train on.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Cluster()
    try:
        config = json.loads(text)
    except json.JSONDecodeError:
        raise _refusal(f"an object of JSON, such as {EXAMPLE}", text) from None
    if not isinstance(config, dict):
        raise _refusal(f"an object of JSON, such as {EXAMPLE}", config)
    jobs = _jobs(config.get("cluster", {}))
    return Cluster(sum(map(len, jobs.values())), _is_first(config.get("task"), jobs)) if jobs else Cluster()


def _jobs(cluster: Any) -> dict[str, list[str]]:
    """The addresses of each kind of worker."""
    if not isinstance(cluster, dict) or not cluster.keys() <= set(JOBS):
        raise _refusal(f"cluster to be an object with the keys {' and '.join(JOBS)}", cluster)
    for job, addresses in cluster.items():
        if not isinstance(addresses, list) or not addresses or not all(isinstance(a, str) for a in addresses):
            raise _refusal(f'cluster.{job} to be a list of addresses, such as ["host:port"]', addresses)
    return cluster


def _is_first(task: Any, jobs: dict[str, list[str]]) -> bool:
    """Whether that is the task of the first worker; it may be left out where there is one."""
    first = next(job for job in JOBS if job in jobs)
    if task is None and sum(map(len, jobs.values())) == 1:
        return True
    if not isinstance(task, dict) or task.get("type") not in list(jobs):
        raise _refusal(f"task to be an object whose type is {' or '.join(jobs)}", task)
    index, number = task.get("index"), len(jobs[task["type"]])
    if type(index) is not int or not 0 <= index < number:
        raise _refusal(f"task.index to be a whole number from 0 to {number - 1}", index)
    return (task["type"], index) == (first, 0)


def _refusal(expected: str, found: Any) -> ValueError:
    shown = found if isinstance(found, str) else json.dumps(found)
    return ValueError(f"{VARIABLE}: expected {expected}, found {shown}")
