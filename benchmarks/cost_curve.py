"""Draw F1 on validation images against minutes of training: python -m benchmarks.cost_curve OUT.png [NAME ...].

NAME is an experiment in metrics/experiments (drive_16 and drive_reference: the compact and the reference network with
the same images held out). A point is an epoch; each curve follows the learning rate of its own length, so that a
shorter training would end higher than the curve stands at its minute.
"""

import argparse
import json
from itertools import cycle
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure

from src.colours import BLUE, ORANGE, SKY, VERMILION

KEPT = Path("metrics/experiments")
COLOURS = (BLUE, VERMILION, SKY, ORANGE)


def curve(name: str) -> pd.DataFrame:
    """Minutes and validation F1 (at probability .5, of patches) by epoch.

    Raises:
        ValueError: no image was held out, or several networks were trained.
    """
    history = pd.read_csv(KEPT / name / "training.csv")
    params = yaml.safe_load((KEPT / name / "params.yaml").read_text(encoding="utf-8"))
    if history["validation_f1"].isna().any() or params["train"]["members"] > 1:
        raise ValueError(f"{name}: expected an experiment of one member that holds validation images out")
    minutes = json.loads((KEPT / name / "cost.json").read_text(encoding="utf-8"))["training_minutes"]
    spent = history["epoch"] / history["epoch"].max() * minutes
    return pd.DataFrame({"minutes": spent, "f1": history["validation_f1"]})


def main() -> None:
    """Draw, and print the end of each curve."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost_curve", description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("names", nargs="*", default=["drive_16", "drive_reference"])
    given = parser.parse_args()
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for name, colour in zip(given.names, cycle(COLOURS), strict=False):
        table = curve(name)
        axes.plot(table["minutes"], table["f1"], color=colour, marker=".", label=name)
        print(f"{name}: F1 {table['f1'].iloc[-1]:.4f} after {table['minutes'].iloc[-1]:.1f} minutes")
    axes.set(xlabel="minutes of training on two cores", ylabel="F1, validation patches")
    axes.set_ylim(max(0.0, axes.get_ylim()[0]), None)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(given.out, dpi=120, metadata={"Software": None})


if __name__ == "__main__":
    main()
