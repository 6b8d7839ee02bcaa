"""Tables, images and files of a small finished run, which the tests of figures and reports share."""

import io
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from src.common import atomic_io, provenance
from src.data import audit, samples
from src.evaluation import result_tables
from src.metrics import metric_definitions
from src.params import load_params
from src.reporting import overlays, score_figures
from src.reporting.run_results import RunResults

PARAMS = load_params()
OBSERVERS = ("model", "model_at_half", "second_observer", "sato")
NAN = float("nan")
REGIONS = ("fov", "full_image")
WITHOUT_THRESHOLD = ("auc_roc", "auc_pr", "brier", "calibration_error")  # of the model alone
POOLED = {
    "f1": 0.8, "precision": 0.75, "recall": 0.85, "false_positive_rate": 0.03, "auc_roc": 0.98, "auc_pr": 0.9,
    "calibration_error": 0.02, "brier": 0.03, "accuracy": 0.9,
}  # fmt: skip


def history(epochs=3, validation=True):
    """training.csv, in which every score rises from 0.2 to 0.8 in training and from 0.4 to 0.6 in validation."""
    columns = {"epoch": np.arange(1, epochs + 1)}
    for score in metric_definitions.HISTORY:
        columns[score] = np.linspace(0.2, 0.8, epochs)
        columns[f"validation_{score}"] = np.linspace(0.4, 0.6, epochs) if validation else np.full(epochs, NAN)
    return pd.DataFrame(columns)


def curve():
    """curves.csv of one test set, with four thresholds."""
    return pd.DataFrame(
        {
            "threshold": [0.1, 0.4, 0.6, 0.9],
            "recall": [1.0, 0.9, 0.7, 0.2],
            "precision": [0.1, 0.7, 0.8, 1.0],
            "false_positive_rate": [0.9, 0.1, 0.04, 0.0],
        }
    )


def bins():
    """reliability.csv of one test set, with three bins, one of them empty."""
    return pd.DataFrame(
        {
            "probability_up_to": [1 / 3, 2 / 3, 1.0],
            "pixels": [90, 0, 10],
            "mean_probability": [0.1, NAN, 0.9],
            "vessel_fraction": [0.2, NAN, 0.8],
        }
    )


def uncertainty(dataset="drive", **changes):
    """uncertainty.csv of one test set, with three classes."""
    rows = [(dataset, 0.05, 800, 16, 0.02), (dataset, 0.1, 100, 11, 0.11), (dataset, 1.0, 100, 40, 0.4)]
    table = pd.DataFrame(rows, columns=["dataset", "uncertainty_up_to", "pixels", "errors", "error_rate"])
    return table.assign(**changes)


def observer_scores(others=("second_observer",)):
    """Pooled scores in the FOV by observer."""
    of_observer = {name: value for name, value in POOLED.items() if name not in WITHOUT_THRESHOLD}
    return {"model": POOLED} | dict.fromkeys(others, of_observer)


def summary(dataset="drive", observers=OBSERVERS, image_counts=None, **changes):
    """summary.csv of one test set; 4 images where `image_counts` has no other; `changes` are of the model's clDice."""
    scores = dict.fromkeys((*score_figures.INTERVAL_SCORES, *POOLED))
    rows = [
        {"dataset": dataset, "observer": observer, "region": region, "score": score,
         "pooled": POOLED.get(score, NAN), "mean": 0.8, "sd": 0.1, "low": 0.75, "high": 0.85,
         "images": (image_counts or {}).get(observer, 4), "groups": 3}
        | (changes if (observer, score) == ("model", "cldice") else {})
        for observer, region, score in product(observers, REGIONS, scores)
        if observer in ("model", "sato") or score not in WITHOUT_THRESHOLD
    ]  # fmt: skip
    loss = {"region": "full_image", "score": "loss", "pooled": 0.3333}
    return pd.DataFrame([*rows, rows[0] | loss])


def differences(dataset="drive", observers=OBSERVERS[1:], **changes):
    """differences.csv of one test set: F1 of the model minus that of each other observer."""
    row = {"dataset": dataset, "region": "fov", "score": "f1", "mean": 0.02, "low": -0.01, "high": 0.05, "p": 0.000001,
           "better": 3, "worse": 1, "images": 4, "groups": 3} | changes  # fmt: skip
    return pd.DataFrame([row | {"observer": observer} for observer in observers])


def audited(second_observers=4, largest="5x5"):
    """audit.csv of a training and a test set."""
    rows = [("train", "drive", 3, 3, 0, "4x4", largest, 0.1, 0.05, 0.15, 0.7, 0.6, 0.8),
            ("test", "drive", 4, 3, second_observers, "4x4", largest, 0.123, 0.05, 0.15, 0.7, 0.6, 0.8)]  # fmt: skip
    return pd.DataFrame(rows, columns=audit.COLUMNS)


def per_image(f1, dataset="drive", observer="model"):
    """per_image.csv with one image per F1, ids 01, 02, ... or the keys of `f1`; F1 differs on the full image."""
    ids = f1 if isinstance(f1, dict) else {f"{i:02d}": value for i, value in enumerate(f1, start=1)}
    scores = dict.fromkeys(("mcc", "auc_roc", "auc_pr", "precision", "recall", "cldice", "recall_thin"), 0.5)
    counts = {"tp": 9, "fp": 1, "fn": 2, "tn": 88}
    rows = [
        {"dataset": dataset, "id": id_, "group": id_, "observer": observer, "region": region, "f1": score}
        | counts
        | scores
        for id_, value in ids.items()
        for region, score in (("fov", value), ("full_image", 1 - value))
    ]
    return pd.DataFrame(rows)


def results(**changes):
    """A finished run on one test set with second observer and one filter."""
    given = {
        "threshold": 0.41,
        "summary": summary(),
        "differences": differences(),
        "audit": audited(),
        "uncertainty": uncertainty(),
        "params": PARAMS,
        "versions": {"python": "3.11.0"},
        "hashes": {"metrics/scores.json": "a1b2"},
    }
    return RunResults(**given | changes)


def predicted_image(height=60, width=80):
    """A cross of vessels on a reddish image, the lower half of it false negatives, and one false positive."""
    truth = np.zeros((height, width), bool)
    truth[height // 2] = truth[:, width // 2] = True
    probability = truth * 0.9
    probability[height // 2 + 5 :] = 0.1
    probability[2, 3] = 0.8
    image = np.full((height, width, 3), (200, 90, 40), np.uint8)
    return overlays.PredictedImage(image, truth, probability, probability > 0.5, np.ones((height, width), bool))


def png(figure: Figure) -> bytes:
    """The figure as PNG."""
    content = io.BytesIO()
    figure.savefig(content, dpi=30, metadata={"Software": None})
    return content.getvalue()


def write_metrics(metrics: Path, f1: dict[str, float]) -> None:
    """Write all tables of a run with these F1 of the model, and a second observer of the first image."""
    for name in provenance.RESULT_TABLES:
        atomic_io.write_text(metrics / name, "a,b\n")
    (metrics / "validation.json").write_text(json.dumps({"validation": {"threshold": 0.41}}))
    first = next(iter(f1))
    tables = {
        "training": history(),
        "curves": curve().assign(dataset="drive"),
        "reliability": bins().assign(dataset="drive"),
        "uncertainty": uncertainty(),
        "per_image": pd.concat([per_image(f1), per_image({first: 0.6}, observer="second_observer")]),
        "summary": summary(
            observers=("model", "second_observer"), image_counts={"model": len(f1), "second_observer": 1}
        ),
        "differences": differences(observers=("second_observer",)),
        "audit": audited(),
    }  # fmt: skip
    assert {f"{name}.csv" for name in tables} == set(result_tables.FORMATS)
    for name, table in tables.items():
        table.to_csv(metrics / f"{name}.csv", index=False)


def write_test_images(test: Path, predictions: Path, ids: list[str]) -> None:
    """Write test images of `drive` with their probability maps."""
    example = predicted_image()
    samples.write_table(test, [("drive", id_, id_) for id_ in ids])
    for id_ in ids:
        image = samples.LabelledImage(id_, id_, example.image, example.truth, example.fov, None)
        samples.write_labelled_image(test, "drive", image)
        samples.write_probability(predictions / "drive" / f"{id_}.png", example.probability)
