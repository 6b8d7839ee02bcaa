"""Versions of a registered model in MLflow: one for each recorded state, one of them the champion."""

from src.tracking.mlflow_setup import (
    MlflowClient,
    MlflowException,
    ModelVersion,
    entities,
    get_results_from_paginated_fn,
)
from src.tracking.run_tags import EXPERIMENT_NAME, FINGERPRINT, TRAINING
from src.tracking.tracking_store import as_default_store

CHAMPION = "champion"  # alias
PAGE_SIZE = 1000  # versions in one answer of a store
PARAMS = ("data.train", "data.test")  # of a run, which its version repeats as tags; likewise the next two
TAGS = ("git.commit", "git.dirty", EXPERIMENT_NAME, FINGERPRINT)
SCORES = ("f1", "auc_roc", "auc_pr", "mcc", "mean_cldice", "mean_recall_thin")  # in the field of view
THRESHOLD = "validation.threshold"


def register_version(client: MlflowClient, run_id: str, name: str) -> ModelVersion | None:
    """Return the version of a run's model, created where its state has none; None for a run without a model."""
    run = client.get_run(run_id)
    if not run.outputs or not run.outputs.model_outputs:
        return None
    fingerprint = run.data.tags[FINGERPRINT]
    known = [found for found in all_versions(client, name) if found.tags.get(FINGERPRINT) == fingerprint]
    if known:
        return known[0]
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id = run.outputs.model_outputs[0].model_id
    with as_default_store(client.tracking_uri):  # where MLflow looks for the model, whatever the client
        return client.create_model_version(name, f"models:/{model_id}", run_id, version_tags(run), model_id=model_id)


def version_tags(run: entities.Run) -> dict[str, str]:
    """Return the tags of a run's version: data sets, commit, experiment, fingerprint, threshold, SCORES by test set."""
    found = {key: run.data.params[key] for key in PARAMS}
    found |= {key: run.data.tags[key] for key in TAGS if key in run.data.tags}
    for key, value in run.data.metrics.items():
        group, _, score = key.partition(".")
        if (score in SCORES and group != TRAINING) or key == THRESHOLD:
            found[key] = f"{value:.4f}"
    return found


def all_versions(client: MlflowClient, name: str) -> list[ModelVersion]:
    """Return all versions of a registered model, oldest first; none where there is no such model."""
    found = get_results_from_paginated_fn(
        lambda size, token: client.search_model_versions(f"name = '{name}'", max_results=size, page_token=token),
        PAGE_SIZE,
    )
    return sorted(found, key=lambda version: int(version.version))


def find_version(client: MlflowClient, name: str, given: str) -> ModelVersion:
    """Return the version with that number or of that run.

    Raises:
        ValueError: there is none.
    """
    known = all_versions(client, name)
    found = [version for version in known if given in (str(version.version), version.run_id)]
    if not found:
        numbers = ", ".join(str(version.version) for version in known) or "none"
        raise ValueError(f"{given}: expected a version of {name!r} ({numbers}) or the id of its run, found none")
    return found[0]


def find_champion(client: MlflowClient, name: str) -> ModelVersion | None:
    """Return the version with the alias `champion`, with its tags; None where there is none."""
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get(CHAMPION) if models else None
    return None if number is None else client.get_model_version(name, str(number))
