"""The reported scores: what each is called, and whether less of it is better."""

from typing import NamedTuple


class Score(NamedTuple):
    """The name that a table shows, and whether the lower value is the better."""

    label: str
    lower: bool = False


SCORES = {
    "accuracy": Score("accuracy"),
    "balanced_accuracy": Score("balanced accuracy"),
    "f1": Score("F1 (Dice)"),
    "iou_mean": Score("IoU, mean of both classes"),
    "iou_vessel": Score("IoU, vessel"),
    "mcc": Score("MCC"),
    "precision": Score("precision"),
    "recall": Score("recall (sensitivity)"),
    "specificity": Score("specificity"),
    "false_positive_rate": Score("false positive rate", lower=True),
    "false_negative_rate": Score("false negative rate", lower=True),
    "auc_roc": Score("AUC-ROC"),
    "auc_pr": Score("AUC-PR (average precision)"),
    "brier": Score("Brier score", lower=True),
    "calibration_error": Score("expected calibration error", lower=True),
    "loss": Score("loss", lower=True),
    "cldice": Score("clDice"),
    "recall_thin": Score("recall, thin vessels"),
    "recall_middle": Score("recall, middle vessels"),
    "recall_thick": Score("recall, thick vessels"),
    "precision_thin": Score("precision, thin vessels"),
    "precision_middle": Score("precision, middle vessels"),
    "precision_thick": Score("precision, thick vessels"),
    "hausdorff": Score("Hausdorff distance", lower=True),
    "hausdorff_95": Score("Hausdorff distance, 95th percentile", lower=True),
    "surface_distance": Score("average surface distance", lower=True),
    "betti_0_error": Score("error in connected components (Betti 0)", lower=True),
    "betti_1_error": Score("error in loops (Betti 1)", lower=True),
}
OBSERVERS = {
    "model": "model",
    "model_at_half": "model at threshold 0.5",
    "second_observer": "second observer",
    "matched_filter": "matched filter",
    "frangi": "Frangi filter",
    "sato": "Sato filter",
}
