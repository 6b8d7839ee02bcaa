"""The reported scores: what each is called, and whether less of it is better."""

import math
from typing import NamedTuple

UNBOUNDED = (0.0, math.inf)


class Score(NamedTuple):
    """The name that a table shows, whether the lower value is the better, and the least and largest that can be."""

    label: str
    lower: bool = False
    limits: tuple[float, float] = (0.0, 1.0)


SCORES = {
    "accuracy": Score("accuracy"),
    "balanced_accuracy": Score("balanced accuracy"),
    "f1": Score("F1 (Dice)"),
    "iou_mean": Score("IoU, mean of both classes"),
    "iou_vessel": Score("IoU, vessel"),
    "mcc": Score("MCC", limits=(-1.0, 1.0)),
    "precision": Score("precision"),
    "recall": Score("recall (sensitivity)"),
    "specificity": Score("specificity"),
    "false_positive_rate": Score("false positive rate", lower=True),
    "false_negative_rate": Score("false negative rate", lower=True),
    "auc_roc": Score("AUC-ROC"),
    "auc_pr": Score("AUC-PR (average precision)"),
    "brier": Score("Brier score", lower=True),
    "calibration_error": Score("expected calibration error", lower=True),
    "loss": Score("loss", lower=True, limits=UNBOUNDED),
    "cldice": Score("clDice"),
    "recall_thin": Score("recall, thin vessels"),
    "recall_middle": Score("recall, middle vessels"),
    "recall_thick": Score("recall, thick vessels"),
    "precision_thin": Score("precision, thin vessels"),
    "precision_middle": Score("precision, middle vessels"),
    "precision_thick": Score("precision, thick vessels"),
    "hausdorff": Score("Hausdorff distance", lower=True, limits=UNBOUNDED),
    "hausdorff_95": Score("Hausdorff distance, 95th percentile", lower=True, limits=UNBOUNDED),
    "surface_distance": Score("average surface distance", lower=True, limits=UNBOUNDED),
    "betti_0_error": Score("error in connected components (Betti 0)", lower=True, limits=UNBOUNDED),
    "betti_1_error": Score("error in loops (Betti 1)", lower=True, limits=UNBOUNDED),
}
OBSERVERS = {
    "model": "model",
    "model_at_half": "model at threshold 0.5",
    "second_observer": "second observer",
    "matched_filter": "matched filter",
    "frangi": "Frangi filter",
    "sato": "Sato filter",
}
HISTORY = {  # of a row an epoch
    "accuracy": "Accuracy",
    "f1": "F1 score",
    "iou": "IoU (mean of both classes)",
    "loss": "Loss",
    "mcc": "MCC",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
}
HISTORY_COLUMNS = tuple(f"{subset}{name}" for subset in ("", "validation_") for name in HISTORY)
