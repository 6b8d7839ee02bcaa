"""What runs again when what changes: python -m tools.what_reruns.

Each change is made in a scratch clone of the committed project; `dvc status` names the stages that it makes stale. A
changed parameter changes outputs, so that all stages after these run as well; a comment leaves outputs as they were.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from ruamel.yaml import YAML

from src.common import markdown
from tools.docs import after, pipeline

PARAMETERS = {
    "data.test": ["drive"],
    "data.validation_fraction": 0.3,
    "preprocess.clahe_clip_limit": 2.0,
    "patch.size": 224,
    "augment.n_per_patch": 4,
    "model.backbone": "mobilenetv2",
    "loss.gamma": 3.0,
    "train.epochs": 9,
    "train.cpu_threads": 1,
    "baselines.filters": ["frangi"],
    "evaluate.threshold": 0.4,
    "plot.dpi": 100,
    "record.experiment_name": "other",
    "regression_gate.seed": 2,
    "checkpoints.retention_days": 7,
}
FILES = (
    "src/models/losses.py",
    "src/metrics/probability_metrics.py",
    "src/reporting/curve_figures.py",
    "src/data/datasets.py",
)


def stale(project: Path) -> set[str]:
    """The stages of a clone without data that depend on a file of code or a parameter that was changed."""
    command = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(command, cwd=project, stdout=subprocess.PIPE, check=True, text=True)
    causes = {
        name: [found.get("changed deps", {}) for found in every] for name, every in json.loads(done.stdout).items()
    }
    return {name for name, every in causes.items() if any(_is_changed(dep) for deps in every for dep in deps.values())}


def _is_changed(dep: str | dict) -> bool:
    """Whether a dep, or one of the parameters in a file, was changed; data that the clone lacks is `deleted`."""
    return dep == "modified" if isinstance(dep, str) else bool(dep)


def main() -> None:
    """Print a Markdown table."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        subprocess.run(["git", "clone", "--quiet", ".", str(project)], check=True)
        order = list(pipeline())
        rows = []
        for key, value in PARAMETERS.items():
            params = project / "params.yaml"
            text = params.read_text(encoding="utf-8")
            read = YAML()
            values = read.load(text)
            section, name = key.split(".")
            values[section][name] = value
            with params.open("w", encoding="utf-8") as out:
                read.dump(values, out)
            rows.append((f"`{key}`", after(stale(project))))
            params.write_text(text, encoding="utf-8")
        for file in FILES:
            code = project / file
            text = code.read_text(encoding="utf-8")
            code.write_text(text + "# a comment\n", encoding="utf-8")
            rows.append((f"a comment in `{file}`", stale(project)))
            code.write_text(text, encoding="utf-8")
    shown = [(what, ", ".join(sorted(names, key=order.index)) or "none") for what, names in rows]
    print(markdown.table(["change", "stages that run"], shown))


if __name__ == "__main__":
    main()
