"""Fuzzing of params.yaml and of the tables and JSON files of a run."""

import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from robustness.fuzzing import strategies
from robustness.fuzzing.reader import Reader, expect
from robustness.fuzzing.strategies import damaged, damaged_json, damaged_text

PARAMS = Path("params.yaml")


METRICS = Path("metrics/experiments/drive_16")  # tables of a real run


QUICK_BOOTSTRAP = 100  # resamples


HOSTILE_YAML = (
    *("2001-99-99", "0x", "!!python/object/apply:os.system [true]", "&a [*a]", "*none", "[" * 2000, "{" * 2000),
    *("9" * 5000, "1e99999", "? [a]\n  : b", "!!binary x", "'", "\t", "<<: [1]", "!!timestamp x", "12:99:99", ".nan"),
    *("0o9", "~"),
)


@st.composite
def params_files(draw: st.DrawFn) -> bytes:
    """Generate a params.yaml with hostile values, keys or lines."""
    text, sections = PARAMS.read_text(encoding="utf-8"), yaml.safe_load(PARAMS.read_text(encoding="utf-8"))
    if draw(st.booleans()):
        change = st.tuples(st.lists(st.integers(0, 50), min_size=2, max_size=3), strategies.values, st.booleans())
        for path, value, new_key in draw(st.lists(change, min_size=1, max_size=5)):
            sections = strategies.set_value(sections, path, value, new_key)
        return yaml.dump(sections, allow_unicode=True).encode("utf-8", "surrogatepass")
    lines = text.splitlines()
    place = draw(st.integers(0, len(lines) - 1))
    lines[place] = f"{lines[place].partition(':')[0]}: {draw(st.sampled_from(HOSTILE_YAML))}"
    return "\n".join(lines).encode()


def billion_laughs() -> bytes:
    """Return a params.yaml whose last value stands for 9 ** 11 values."""
    levels = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    return f"a0: &a0 [lol]\n{levels}{PARAMS.read_text(encoding='utf-8')}loss: *a11\n".encode()


def read_params(content: bytes, folder: Path) -> None:
    """Read params.yaml."""
    from src import params

    path = folder / "params.yaml"
    path.write_bytes(content)
    expect(isinstance(params.load_params(path), params.Params), "params")
    expect(isinstance(params.load_regression_gate(path), params.RegressionGate), "regression gate")
    expect(isinstance(params.load_checkpoints(path), params.Checkpoints), "checkpoints")


def read_samples(content: bytes, folder: Path) -> None:
    """Read samples.csv of a subset."""
    from src.data import samples

    for kind in ("images", "truth", "fov"):
        (folder / "d" / kind).mkdir(parents=True)
        for name in ("1", "2"):
            (folder / "d" / kind / f"{name}.png").touch()
    (folder / "samples.csv").write_bytes(content)
    expect(all(all(map(str.isprintable, sample[:3])) for sample in samples.find(folder, least=0)), "samples")


@functools.cache
def score_table() -> str:
    """Return a small per_image.csv."""
    from src.metrics import metric_definitions

    names, rng = list(metric_definitions.SCORES), np.random.default_rng(1)
    lines = [",".join(["dataset,id,group,observer,region,tp,fp,fn,tn", *names])]
    for number in range(6):
        scores = ",".join(f"{score:.6f}" for score in rng.random(len(names)))
        lines.append(f"drive,{number:02d},g{number},model,fov,{20 + number},5,6,70,{scores}")
    return "\n".join(lines) + "\n"


def read_per_image(content: bytes, folder: Path) -> None:
    """Read per_image.csv and compare it with an undamaged one."""
    from src.evaluation import compare_runs, result_tables

    path = folder / "per_image.csv"
    path.write_bytes(content)
    old = result_tables.parse(score_table(), "old.csv", path.name)
    rows = compare_runs.compare(old, compare_runs.read_run(str(path)), "fov", "model", QUICK_BOOTSTRAP, 1)
    expect(all(row.difference.images <= 6 for row in rows), "rows")


SUMMARY = "dataset,observer,region,score,pooled,mean,sd,low,high,images,groups\n" + "".join(
    f"drive,model,fov,{score},0.8,0.8,0.1,0.7,0.9,6,6\n" for score in ("f1", "mcc", "auc_roc", "auc_pr")
)


GATE_OUTS = [{"path": f"metrics/{name}", "md5": "a"} for name in ("per_image.csv", "summary.csv")]


GATE_PARAMS = {"evaluate": {"threshold": None, "width_limits": [2.5, 5.5]}}


LOCK = yaml.safe_dump({"stages": {"evaluate": {"outs": GATE_OUTS, "params": {"params.yaml": GATE_PARAMS}}}})


def gate_files() -> SearchStrategy[tuple[str, bytes]]:
    """Generate the name and the content of the one file of a committed run that is damaged."""
    texts = {"metrics/per_image.csv": score_table(), "metrics/summary.csv": SUMMARY, "dvc.lock": LOCK}
    return st.one_of([st.tuples(st.just(name), damaged_text(text)) for name, text in texts.items()])


def read_gate(value: tuple[str, bytes], folder: Path) -> None:
    """Judge a damaged run against an undamaged one by the regression gate."""
    from src.evaluation import gate_inputs, gate_report, gate_verdict, git_revisions, result_tables
    from src.params import load_regression_gate

    (folder / "metrics").mkdir()
    (folder / "metrics/per_image.csv").write_text(score_table(), encoding="utf-8")
    (folder / "metrics/summary.csv").write_text(SUMMARY, encoding="utf-8")
    (folder / "dvc.lock").write_text(LOCK, encoding="utf-8")
    (folder / value[0]).write_bytes(value[1])
    after = gate_inputs.read_run(git_revisions.FileTree("tree", None, folder))
    before = gate_inputs.CommittedRun(
        name="old",
        per_image=result_tables.parse(score_table(), "old", "per_image.csv"),
        summary=result_tables.parse(SUMMARY, "old", "summary.csv"),
        lock=after.lock,
    )
    quick = load_regression_gate().model_copy(update={"bootstrap_resamples": QUICK_BOOTSTRAP})
    report = gate_report.as_markdown(gate_verdict.judge_runs(before, after, quick), "a", "b")
    expect(report.startswith("## "), "verdict")


def metrics_files() -> SearchStrategy[tuple[str, bytes]]:
    """Generate the name and the content of the one file of a run's metrics that is damaged."""
    kinds: dict[str, Callable[[str], SearchStrategy[bytes]]] = {".csv": damaged_text, ".json": damaged_json}
    paths = [path for path in sorted(METRICS.iterdir()) if path.suffix in kinds and path.name != "cost.json"]
    return st.one_of(
        [st.tuples(st.just(path.name), kinds[path.suffix](path.read_text(encoding="utf-8"))) for path in paths]
    )


def read_metrics(value: tuple[str, bytes], folder: Path) -> None:
    """Read the tables of a run as stages plot, report and record do, and render figures and reports."""
    from src.common.operating_point import read_threshold
    from src.evaluation import result_tables
    from src.metrics import metric_definitions
    from src.params import load_params
    from src.reporting import calibration_figures, curve_figures, html_report, markdown_report, score_figures
    from src.reporting.run_results import RunResults
    from src.tracking import run_record

    for path in METRICS.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    (folder / value[0]).write_bytes(value[1])
    run_record.read_tables(folder)
    threshold = read_threshold(folder / "validation.json")
    result_tables.read_scores(folder / "scores.json")
    summary = result_tables.read_summary(folder / "summary.csv")
    per_image = result_tables.read_per_image(folder / "per_image.csv", summary, html_report.IMAGE_SCORES)
    differences = result_tables.read_differences(folder / "differences.csv", summary)
    curves, bins, classes = (
        result_tables.read_by_dataset(folder / f"{name}.csv", summary)
        for name in ("curves", "reliability", "uncertainty")
    )
    history = result_tables.read(folder / "training.csv", metric_definitions.HISTORY_COLUMNS)
    audit = result_tables.read(folder / "audit.csv")
    run = RunResults(threshold, summary, differences, audit, classes, load_params(), {}, {})
    expect("# " in markdown_report.render_markdown(run), "report")
    contents = html_report.ReportContents(per_image, history, dict.fromkeys(html_report.FIGURES, b""), [])
    expect("<html" in html_report.render_html(run, contents), "page")
    datasets = result_tables.test_sets(summary)
    scores = {dataset: result_tables.pooled_scores(summary, dataset) for dataset in datasets}
    curve_figures.learning_curves(history)
    curve_figures.roc({str(name): rows for name, rows in curves.groupby("dataset")}, scores, threshold)
    curve_figures.precision_recall({str(name): rows for name, rows in curves.groupby("dataset")}, scores, threshold)
    calibration_figures.reliability({str(name): rows for name, rows in bins.groupby("dataset")}, scores)
    calibration_figures.error_by_uncertainty({str(name): rows for name, rows in classes.groupby("dataset")})
    score_figures.confusion_matrix(per_image, threshold)
    score_figures.f1_per_image(per_image)
    score_figures.score_intervals(summary)


def journal_text() -> str:
    """Return a predictions.csv of two images, one of them with a quoted cell."""
    from src.inference import image_predictor

    rows = [",".join(image_predictor.COLUMNS)]
    for number, name in enumerate(("a.png", '"b, ""c"".png"')):
        rows.append(
            ",".join([name, f"id{number}", image_predictor.DONE, *["0.5"] * (len(image_predictor.COLUMNS) - 3)])
        )
    return "\n".join(rows) + "\n"


def read_journal(content: bytes, folder: Path) -> None:
    """Read a predictions.csv, add a row, and read it again."""
    from src.common.csv_journal import Journal
    from src.inference import image_predictor

    path, row = folder / "predictions.csv", dict.fromkeys(image_predictor.COLUMNS, "x")
    path.write_bytes(content)
    journal = Journal(path, image_predictor.COLUMNS)
    journal.add(row)
    again = Journal(path, image_predictor.COLUMNS)
    expect(again.rows == journal.rows and again.rows["x"] == row, "rows")


SAMPLES = "dataset,id,group\nd,1,g\nd,2,h\n"
IN_GATE = ("per_image.csv", "summary.csv", "dvc.lock", "tree", "old", "drive")
READERS = {
    "params.yaml": Reader(
        damaged(PARAMS.read_bytes()) | params_files() | st.builds(billion_laughs), read_params, ("params.yaml",)
    ),
    "samples.csv": Reader(damaged_text(SAMPLES), read_samples, ("samples.csv", "d/")),
    "per_image.csv": Reader(
        st.deferred(lambda: damaged_text(score_table())),
        read_per_image,
        ("per_image.csv", "drive", "a test set"),
        cost=4,
    ),
    "regression gate": Reader(st.deferred(gate_files), read_gate, IN_GATE, cost=4),
    "metrics": Reader(st.deferred(metrics_files), read_metrics, (".csv", ".json"), cost=8),
    "predictions.csv": Reader(st.deferred(lambda: damaged_text(journal_text())), read_journal, ("predictions.csv",)),
}
