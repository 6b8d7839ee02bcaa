"""Multi-worker training: the workers that train one network together, as TF_CONFIG lists them."""

import os
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, StrictInt, ValidationError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
Job = Literal["chief", "worker"]


class Task(BaseModel):
    """The part of a process in a cluster."""

    type: Job
    index: Annotated[StrictInt, Field(ge=0)]


class Config(BaseModel):
    """The value of TF_CONFIG: the addresses of each job, and the task of this process."""

    cluster: dict[Job, Annotated[list[str], Field(min_length=1)]] = {}
    task: Task | None = None


class Cluster(NamedTuple):
    """The number of workers, and whether this process is the first of them."""

    workers: int = 1
    is_first: bool = True


def read_cluster() -> Cluster:
    """Read the cluster of TF_CONFIG; this process alone where that is not set or lists fewer than two workers.

    Raises:
        ValueError: the value is not what TensorFlow expects.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Cluster()
    try:
        config = Config.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "all"
        raise _invalid(f"{key}: {first['msg']}, got {first['input']!r:.80}") from error
    workers = [(job, index) for job in sorted(config.cluster) for index in range(len(config.cluster[job]))]
    if len(workers) < 2:
        return Cluster()
    if config.task is None:
        raise _invalid("task: missing")
    worker = (config.task.type, config.task.index)
    if worker not in workers:
        raise _invalid(f"task: expected one of cluster, got {config.task.type} {config.task.index}")
    return Cluster(len(workers), worker == workers[0])  # the chief, if any, sorts first


def check_same_fingerprint(fingerprints: list[str]) -> None:
    """Raise ValueError unless all workers have the same training fingerprint, which is given for each."""
    others = [number for number, fingerprint in enumerate(fingerprints) if fingerprint != fingerprints[0]]
    if others:
        raise ValueError(
            f"{VARIABLE}: expected all {len(fingerprints)} workers to have the same patches, parameters, code and "
            f"packages as worker 0, got others at {', '.join(map(str, others))}"
        )


def _invalid(reason: str) -> ValueError:
    return ValueError(f"{VARIABLE}: expected JSON such as {EXAMPLE}; {reason}")
