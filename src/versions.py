"""The versions of a registered model in MLflow: one for each recorded state, one of them the champion."""

from src.quiet import MlflowException, ModelVersion, mlflow
from src.runs import FINGERPRINT

CHAMPION = "champion"
PARAMS = ("data.train", "data.test")  # of a run, which its version repeats as tags; likewise the next two
TAGS = ("git.commit", "git.dirty", "DVC_EXP_NAME", FINGERPRINT)
SCORES = ("f1", "mean_f1", "auc_roc", "auc_pr", "mcc", "mean_cldice", "mean_recall_thin")  # in the field of view


def register(client: mlflow.MlflowClient, run_id: str, name: str) -> ModelVersion | None:
    """The version of the model that a run logged, made where its state has none; None for a run without a model."""
    run = client.get_run(run_id)
    if not run.outputs or not run.outputs.model_outputs:
        return None
    state = run.data.tags[FINGERPRINT]
    known = [found for found in every(client, name) if found.tags.get(FINGERPRINT) == state]
    if known:
        return known[0]
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    model_id = run.outputs.model_outputs[0].model_id
    return client.create_model_version(name, f"models:/{model_id}", run_id, tags(run), model_id=model_id)


def tags(run: mlflow.entities.Run) -> dict[str, str]:
    """What a version says of its run: data sets, commit, experiment, fingerprint, threshold, SCORES by test set."""
    found = {key: run.data.params[key] for key in PARAMS}
    found |= {key: run.data.tags[key] for key in TAGS if key in run.data.tags}
    for key, value in run.data.metrics.items():
        dataset, _, score = key.partition(".fov.")
        if (score in SCORES and "." not in dataset) or key == "threshold":
            found[f"{dataset}.{score}" if score else key] = f"{value:.4f}"
    return found


def every(client: mlflow.MlflowClient, name: str) -> list[ModelVersion]:
    """All versions of a registered model, oldest first; none where there is no such model."""
    found, token = [], None
    while token != "":
        page = client.search_model_versions(f"name = '{name}'", page_token=token)
        found, token = [*found, *page], page.token or ""
    return sorted(found, key=lambda version: int(version.version))


def find(client: mlflow.MlflowClient, name: str, given: str) -> ModelVersion:
    """The version of that number or of that run.

    Raises:
        ValueError: there is none.
    """
    known = every(client, name)
    found = [version for version in known if given in (str(version.version), version.run_id)]
    if not found:
        numbers = ", ".join(str(version.version) for version in known) or "none"
        raise ValueError(f"{given}: expected a version of {name!r} ({numbers}) or the id of its run, found none")
    return found[0]


def champion(client: mlflow.MlflowClient, name: str) -> ModelVersion | None:
    """The version of alias `champion`, with its tags; None where there is none."""
    models = client.search_registered_models(f"name = '{name}'")
    number = models[0].aliases.get(CHAMPION) if models else None
    return None if number is None else client.get_model_version(name, str(number))
