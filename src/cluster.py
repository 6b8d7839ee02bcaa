"""The workers that train one network together, as the variable TF_CONFIG names them."""

import os
from typing import Annotated, Literal, NamedTuple

from pydantic import BaseModel, Field, StrictInt, ValidationError

VARIABLE = "TF_CONFIG"
EXAMPLE = '{"cluster": {"worker": ["host:port", "host:port"]}, "task": {"type": "worker", "index": 0}}'
Job = Literal["chief", "worker"]


class Task(BaseModel):
    """Which of the workers a process is."""

    type: Job
    index: Annotated[StrictInt, Field(ge=0)]


class Config(BaseModel):
    """The value of the variable: addresses by kind of worker, and the task of this process."""

    cluster: dict[Job, Annotated[list[str], Field(min_length=1)]] = {}
    task: Task | None = None


class Cluster(NamedTuple):
    """How many workers there are, and whether this process is the first of them."""

    workers: int = 1
    first: bool = True


def read() -> Cluster:
    """The cluster of TF_CONFIG; this process alone where that is not set, or names no worker.

    Raises:
        ValueError: it names none that TensorFlow can train on.
    """
    text = os.environ.get(VARIABLE, "")
    if not text:
        return Cluster()
    try:
        config = Config.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or "all"
        raise _refusal(f"{key}: {first['msg']}, got {first['input']!r:.80}") from error
    every = [(job, index) for job in sorted(config.cluster) for index in range(len(config.cluster[job]))]  # chief first
    if len(every) < 2:
        return Cluster()
    if config.task is None:
        raise _refusal("task: missing")
    mine = (config.task.type, config.task.index)
    if mine not in every:
        raise _refusal(f"task: expected one of cluster, got {mine[0]} {mine[1]}")
    return Cluster(len(every), mine == every[0])


def refuse_other_recipes(recipes: list[str]) -> None:
    """Refuse workers that would train one network from different things, given the `checkpoints.recipe` of each."""
    others = [number for number, recipe in enumerate(recipes) if recipe != recipes[0]]
    if others:
        raise ValueError(
            f"{VARIABLE}: expected all {len(recipes)} workers to have the same patches, parameters, code and "
            f"packages as worker 0, got others at {', '.join(map(str, others))}"
        )


def _refusal(reason: str) -> ValueError:
    return ValueError(f"{VARIABLE}: expected JSON such as {EXAMPLE}; {reason}")
