"""Results tables of the reported experiments, one for each test set, from metrics/experiments/*/summary.csv.

Scores are those at the chosen threshold in the FOV. Beside the experiments stand the committed run, the second observer
and published results (experiments/results/published.csv).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from experiments.result_writer import RESULTS
from src.common import atomic_io
from src.common.markdown import number, table
from src.evaluation import result_tables

LIST = Path(__file__).with_name("experiments.yaml")
PUBLISHED = RESULTS / "published.csv"
COMMITTED = Path("metrics")
KEPT = COMMITTED / "experiments"
SUMMARY, COST = "summary.csv", "cost.json"
Scores = Mapping[Any, Mapping[Any, float]]  # pooled, mean, low and high, by score
COMMITTED_TITLE = "U-Net with EfficientNetB0 encoder, synthetic images (`dvc repro`)"
SECOND_OBSERVER = "second observer"
TITLES = {"phantom": "Synthetic images", "drive": "DRIVE", "chase_db1": "CHASE_DB1", "rbv": "RBV", "stare": "STARE",
          "hrf": "HRF", "dr_hagis": "DR HAGIS", "les_av": "LES-AV", "fives": "FIVES",
          "folder": "Own images"}  # fmt: skip
HEAD = (
    "experiment",
    "weights",
    "training time (2 CPU cores)",
    "inference time per image, without / with flips",
    "F1",
    "mean F1 [95 %]",
    "AUC-ROC",
    "AUC-PR",
    "MCC",
    "clDice [95 %]",
    "thin recall [95 %]",
)


class Experiment(NamedTuple):
    """A named experiment: its title and the parameters (`section.key`) in which it differs from params.yaml."""

    title: str
    params: dict[str, Any]


class TestSet(NamedTuple):
    """A test set: key of the data set and number of its images, which the split decides."""

    dataset: str
    images: int

    @property
    def title(self) -> str:
        """Heading of its table."""
        return f"{TITLES.get(self.dataset, self.dataset)}, {self.images} test images"


class Row(NamedTuple):
    """A row of a results table, formatted; its fields are those of HEAD."""

    experiment: str
    weights: str = "-"
    training_time: str = "-"
    inference_time: str = "-"
    f1: str = "-"
    mean_f1: str = "-"
    auc_roc: str = "-"
    auc_pr: str = "-"
    mcc: str = "-"
    cldice: str = "-"
    recall_thin: str = "-"


def load_experiments() -> dict[str, Experiment]:
    """Read experiments.yaml."""
    listed = yaml.safe_load(LIST.read_text(encoding="utf-8"))
    return {name: Experiment(**entry) for name, entry in listed.items()}


def markdown() -> str:
    """Format all tables, each under a heading."""
    parts = [f"## {test_set.title}\n\n{table(HEAD, rows)}\n" for test_set, rows in tables().items()]
    return "\n".join(parts).rstrip()


def tables() -> dict[TestSet, list[Row]]:
    """Collect the rows of each test set: committed run, experiments in their order, second observer, published results.

    Raises:
        ValueError: two runs score the second observer of one test set differently.
    """
    runs = [(COMMITTED_TITLE, COMMITTED)]
    runs += [(f"{experiment.title} (`{name}`)", KEPT / name) for name, experiment in load_experiments().items()]
    models: dict[TestSet, list[Row]] = {}
    observers: dict[TestSet, Row] = {}
    for title, folder in runs:
        if (folder / SUMMARY).exists():
            for test_set, observer, scores in _scores(folder):
                if observer == "model":
                    row = _row(title, scores)._replace(**_format_cost(read_cost(folder)))
                    models.setdefault(test_set, []).append(row)
                elif observers.setdefault(test_set, _row(SECOND_OBSERVER, scores)) != _row(SECOND_OBSERVER, scores):
                    raise ValueError(f"{folder / SUMMARY}: expected the second observer's scores of other runs")
    published = _published()
    return {
        test_set: [*rows, *filter(None, [observers.get(test_set)]), *published.get(test_set, [])]
        for test_set, rows in models.items()
    }


def read_cost(folder: Path) -> dict[str, float]:
    """Read what a run cost; empty where it was not measured."""
    path = folder / COST
    return atomic_io.read_json(path) if path.exists() else {}


def _scores(folder: Path) -> Iterator[tuple[TestSet, str, Scores]]:
    """Yield the scores of model and second observer on each test set, in the FOV."""
    summary = result_tables.read(folder / SUMMARY)
    fov = summary[summary["region"] == "fov"].set_index("score")
    for dataset in result_tables.test_sets(summary):
        for observer in ("model", "second_observer"):
            rows = fov[(fov["dataset"] == dataset) & (fov["observer"] == observer)]
            if len(rows):
                images = result_tables.image_count(summary, dataset, observer)
                yield TestSet(dataset, images), observer, rows.to_dict("index")


def _row(title: str, scores: Scores) -> Row:
    pooled = [name for name in ("f1", "auc_roc", "auc_pr", "mcc") if name in scores]  # an observer has no AUC
    return Row(
        title,
        mean_f1=_mean(scores["f1"]),
        cldice=_mean(scores["cldice"]),
        recall_thin=_mean(scores["recall_thin"]),
        **{name: number(scores[name]["pooled"]) for name in pooled},
    )


def _mean(score: Mapping[str, float]) -> str:
    return f"{number(score['mean'], 3)} [{number(score['low'], 3)}, {number(score['high'], 3)}]"


def _format_cost(cost: dict[str, float]) -> dict[str, str]:
    if not cost:
        return {}
    shown = {"weights": f"{cost['weights'] / 1e6:.3g} M"}
    if "training_minutes" in cost:  # not measured, as the next, where something else took the cores
        shown["training_time"] = f"{cost['training_minutes']} min"
    if "seconds_per_image" in cost:
        shown["inference_time"] = f"{cost['seconds_per_image']:.2f} / {cost['seconds_per_image_flips']:.2f} s"
    return shown


def _published() -> dict[TestSet, list[Row]]:
    """Read the published results, a row each, in the digits of their source."""
    found: dict[TestSet, list[Row]] = {}
    header, *rows = atomic_io.read_rows(PUBLISHED)
    for row in rows:
        cells = dict(zip(header, (cell or "-" for cell in row), strict=True))
        seconds, weights = cells["seconds_per_image"], float(cells["weights"])
        shown = Row(
            f"{cells['method']} (published)",
            weights=f"{weights / 1e6:.3g} M",
            inference_time="-" if seconds == "-" else f"{seconds} s",
            **{name: cells[name] for name in ("f1", "auc_roc", "auc_pr", "mcc", "cldice")},
        )
        found.setdefault(TestSet(cells["dataset"], int(cells["n_images"])), []).append(shown)
    return found
