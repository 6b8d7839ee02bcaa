"""Texts of the figures in the reports: titles, and captions that say what to look for."""

from typing import Literal, NamedTuple

POOLED = "field of view, pooled over all pixels"


class FigureText(NamedTuple):
    """Title of a figure, its region and reduction, what a reader should look for, and whose thresholds it depends on.

    Thresholds are those of all observers, of the model, 0.5 (`half`), or none.
    """

    title: str
    shows: str
    look_for: str
    thresholds: Literal["all", "model", "half", "none"]


FIGURES = {  # by name of the file
    "score_intervals": FigureText(
        "Means and intervals",
        "field of view, means over images with 95 % intervals",
        "A dot further to the right is better; short whiskers mean that the test set settles the score.",
        "all",
    ),
    "f1_per_image": FigureText(
        "F1 of each image",
        "field of view, each image alone, lines at the means over images",
        "The leftmost bars are the images that the model segments worst; a steep rise means that quality varies.",
        "model",
    ),
    "roc": FigureText(
        "ROC",
        POOLED,
        "Nearer to the upper left corner is better; observers below the curve have less recall at their FPR.",
        "all",
    ),
    "precision_recall": FigureText(
        "Precision and recall",
        POOLED,
        "Nearer to the upper right corner is better; the dot should lie where the curve reaches its highest F1 line.",
        "all",
    ),
    "reliability": FigureText(
        "Reliability",
        POOLED,
        "On the diagonal, probabilities are frequencies of vessel; above it the model is underconfident, below it "
        "overconfident. Bars count the pixels behind each point.",
        "none",
    ),
    "error_by_uncertainty": FigureText(
        "Error rate by uncertainty",
        f"{POOLED}; uncertainty is the standard deviation over test-time augmentations, scaled to [0, 1]",
        "A rising line means that uncertainty points to errors.",
        "model",
    ),
    "confusion_matrix": FigureText(
        "Confusion matrix",
        POOLED,
        "Compare false negatives (missed vessels, lower left) with false positives (upper right).",
        "model",
    ),
    "learning_curves": FigureText(
        "Learning curves",
        "patches, field of view, pooled over all pixels of an epoch",
        "Validation that falls behind training is overfitting; curves that still improve at the end ask for more "
        "epochs.",
        "half",
    ),
}
