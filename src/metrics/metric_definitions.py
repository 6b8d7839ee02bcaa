"""Definitions of the reported scores: label, direction and range; labels of observers and of the training history."""

import math
from typing import NamedTuple

UNBOUNDED = (0.0, math.inf)


class Score(NamedTuple):
    """Label of a score in tables, its definition and undefined case, whether lower is better, and its range."""

    label: str
    definition: str
    lower_is_better: bool = False
    limits: tuple[float, float] = (0.0, 1.0)


SCORES = {
    "accuracy": Score("accuracy", "(TP + TN) / all pixels"),
    "balanced_accuracy": Score("balanced accuracy", "(recall + specificity) / 2; undefined where either is"),
    "f1": Score("F1 (Dice)", "2 TP / (2 TP + FP + FN); undefined where neither map has a vessel"),
    "iou_mean": Score(
        "IoU, mean of both classes", "mean of the IoU of vessels and of background; undefined where either is"
    ),
    "iou_vessel": Score("IoU, vessel", "TP / (TP + FP + FN); undefined where neither map has a vessel"),
    "mcc": Score(
        "MCC",
        "Matthews correlation coefficient (1975); undefined where a row or column of the confusion matrix is empty",
        limits=(-1.0, 1.0),
    ),
    "precision": Score("precision", "TP / (TP + FP); undefined where nothing is predicted"),
    "recall": Score("recall (sensitivity)", "TP / (TP + FN); undefined without a vessel"),
    "specificity": Score("specificity", "TN / (TN + FP); undefined without background"),
    "false_positive_rate": Score("false positive rate", "FP / (FP + TN), 1 - specificity", lower_is_better=True),
    "false_negative_rate": Score("false negative rate", "FN / (FN + TP), 1 - recall", lower_is_better=True),
    "auc_roc": Score(
        "AUC-ROC",
        "area under the ROC curve, exact, ties count half; undefined without vessel or background",
    ),
    "auc_pr": Score(
        "AUC-PR (average precision)",
        "average precision, sum of (R_n - R_n-1) P_n over all thresholds; undefined without a vessel",
    ),
    "brier": Score("Brier score", "mean of (probability - ground truth)^2 (Brier, 1950)", lower_is_better=True),
    "calibration_error": Score(
        "expected calibration error",
        "mean over pixels of |mean probability - fraction of vessel| of their bin, 15 bins (Naeini et al., AAAI 2015)",
        lower_is_better=True,
    ),
    "loss": Score(
        "loss",
        "`loss.name` alone, without the weights in section `train`, over all pixels of the region",
        lower_is_better=True,
        limits=UNBOUNDED,
    ),
    "cldice": Score(
        "clDice",
        "harmonic mean of the precision and recall of skeletons (Shit et al., CVPR 2021); 0 if one map alone is empty",
    ),
    "recall_thin": Score(
        "recall, thin vessels",
        "fraction of the ground truth's thin vessel pixels that are predicted; undefined without any",
    ),
    "recall_medium": Score("recall, medium vessels", "the same of medium vessels"),
    "recall_thick": Score("recall, thick vessels", "the same of thick vessels"),
    "precision_thin": Score(
        "precision, thin vessels",
        "fraction of the predicted thin vessel pixels that are correct; undefined without any",
    ),
    "precision_medium": Score("precision, medium vessels", "the same of medium vessels"),
    "precision_thick": Score("precision, thick vessels", "the same of thick vessels"),
    "hausdorff": Score(
        "Hausdorff distance",
        "largest distance between both boundaries, pixels of a 540-pixel FOV; undefined where a map is empty",
        lower_is_better=True,
        limits=UNBOUNDED,
    ),
    "hausdorff_95": Score(
        "Hausdorff distance, 95th percentile",
        "larger of the 95th percentiles of these distances, either way",
        lower_is_better=True,
        limits=UNBOUNDED,
    ),
    "surface_distance": Score(
        "average surface distance",
        "mean of these distances over both boundaries",
        lower_is_better=True,
        limits=UNBOUNDED,
    ),
    "betti_0_error": Score(
        "error in connected components (Betti 0)",
        "difference in the number of connected components",
        lower_is_better=True,
        limits=UNBOUNDED,
    ),
    "betti_1_error": Score(
        "error in loops (Betti 1)", "difference in the number of loops", lower_is_better=True, limits=UNBOUNDED
    ),
}
HEADLINE_SCORES = (  # of the model in the FOV, in scores.json: pooled over pixels, `mean_` over images
    *("f1", "mcc", "auc_roc", "auc_pr", "accuracy", "iou_mean", "loss", "precision", "recall", "specificity"),
    *("mean_cldice", "mean_recall_thin"),
)
SECOND_OBSERVER_F1 = "second_observer_f1"  # pooled, in scores.json where a test set has a second observer
VALIDATION_SCORES = ("f1", "auc_pr")  # pooled, FOV, in validation.json
FILTERS = {"matched_filter": "matched filter", "frangi": "Frangi filter", "sato": "Sato filter"}
OBSERVERS = {
    "model": "model",
    "model_at_half": "model at threshold 0.5",
    "second_observer": "second observer",
    **FILTERS,
}
HISTORY = {  # scores of each epoch, in training.csv
    "accuracy": "Accuracy",
    "f1": "F1 score",
    "iou_mean": "IoU (mean of both classes)",
    "loss": "Loss",
    "mcc": "MCC",
    "precision": "Precision",
    "recall": "Recall",
    "specificity": "Specificity",
}
HISTORY_COLUMNS = tuple(f"{subset}{name}" for subset in ("", "validation_") for name in HISTORY)
