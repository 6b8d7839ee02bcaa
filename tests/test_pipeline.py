"""dvc.yaml against the code: what a stage uses is what it declares."""

import ast
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from src.common import provenance
from src.params import UNTRACKED, Params
from src.tracking import mlflow_logger, model_packaging
from tools import sync_dvc

PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
STAGES = {name: stage.get("do", stage) for name, stage in PIPELINE["stages"].items()}


def outs(name: str) -> set[str]:
    every = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in every}


def test_code_deps_are_the_transitive_imports():
    text = sync_dvc.PIPELINE.read_text(encoding="utf-8")
    assert sync_dvc.synced(text) == text, "run python -m tools.sync_dvc"


def test_sync_adds_missing_deps_and_drops_unused_ones():
    text = sync_dvc.PIPELINE.read_text(encoding="utf-8")
    assert (
        sync_dvc.synced(text.replace("      - src/models/losses.py\n", "      - src/reporting/curve_figures.py\n", 1))
        == text
    )


def test_packages_are_empty_modules():
    assert [path for path in Path("src").rglob("__init__.py") if path.read_bytes()] == []


def test_stages_write_the_same_on_processors_with_and_without_avx_512():
    """The cause of the difference is switched off before NumPy is there, whoever imports it first."""
    program = "import stages.download, numpy, json; print(json.dumps(numpy.show_config('dicts')['SIMD Extensions']))"
    environment = {key: value for key, value in os.environ.items() if key != "NPY_DISABLE_CPU_FEATURES"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
    assert {"X86_V4", "AVX512_ICL", "AVX512_SPR"}.isdisjoint(json.loads(done.stdout).get("found", []))


def test_stage_looks_who_started_it_before_it_imports_anything_slow():
    """Python imports the package of `python -m stages.NAME` first, whatever the stage imports."""
    slow = {"cv2", "mlflow", "numpy", "pandas", "pydantic", "skimage", "tensorflow", "yaml"}
    program = f"import stages, sys; print('src.common.signals' in sys.modules, {slow} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout == "True set()\n"


def test_logged_model_holds_all_code_that_it_runs():
    code = {path.relative_to(model_packaging.PROJECT).as_posix() for path in model_packaging.served_code()}
    assert code == sync_dvc.code_of(model_packaging.SERVICE.relative_to(model_packaging.PROJECT)) | {
        "src/serving/mlflow_pyfunc.py"
    }


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_the_stage_reads(name):
    tree = ast.parse(Path(f"stages/{name}.py").read_text(encoding="utf-8"))
    block = ast.unparse(next(node for node in tree.body if isinstance(node, ast.If)))
    reads = set(re.findall(r"\bparams\.([a-z_]+(?:\.[a-z_]+)*)", block))
    if re.search(r"\bparams\b(?!\.)[,)}]", block):  # handed over whole
        reads = set(Params.model_fields)
    assert set(STAGES[name].get("params", [])) == reads


def test_live_run_holds_the_params_of_its_training():
    assert list(mlflow_logger.TRAIN_SECTIONS) == STAGES["train"]["params"]


@pytest.mark.parametrize("name", STAGES)
def test_paths_of_cmd_are_deps_and_outs(name):
    _, _, module, *arguments = shlex.split(STAGES[name]["cmd"])
    paths = [argument for argument in arguments if not argument.startswith("--")]
    assert module == f"stages.{name}"
    data = {dep for dep in STAGES[name]["deps"] if dep.startswith(("data/", "metrics/", "${item}"))}
    for path in paths:
        assert any(part == path or part.startswith(f"{path}/") for part in data | outs(name)), path
    for part in data | outs(name):
        assert any(part == path or part.startswith(f"{path}/") for path in paths), part


def test_every_stage_has_a_script_and_a_description():
    scripts = {path.stem for path in Path("stages").glob("*.py")} - {"__init__"}
    assert set(STAGES) == scripts
    assert all(stage["desc"] for stage in STAGES.values())


@pytest.mark.parametrize("name", sorted(set(STAGES) - {"report", "record"}))
def test_every_other_stage_can_be_restored_from_the_run_cache(name):
    assert all(isinstance(out, str) for out in STAGES[name].get("outs", []))  # no out without cache


def test_record_is_never_restored_from_the_run_cache():
    (out,) = STAGES["record"]["outs"]
    assert next(iter(out.values())) == {"cache": False, "persist": True}
    assert set(STAGES["record"]["params"]) == set(Params.model_fields)


@pytest.mark.parametrize("name", ["report", "record"])
def test_report_and_record_take_every_table(name):
    assert {f"metrics/{table}" for table in provenance.RESULT_TABLES} <= set(STAGES[name]["deps"])


def test_report_names_versions_and_is_never_restored_from_the_run_cache():
    assert {"metrics/report.md": {"cache": False}} in STAGES["report"]["outs"]
    assert set(STAGES["report"]["params"]) == set(Params.model_fields)


def test_page_is_kept_by_dvc_not_by_git():
    assert "data/report.html" in STAGES["report"]["outs"]
    assert "/data/*" in Path(".gitignore").read_text(encoding="utf-8").splitlines()


def test_training_and_patching_never_see_a_test_image():
    for name in ("patch", "augment", "train"):
        assert not [dep for dep in STAGES[name]["deps"] if dep.startswith("data/raw/test")]
    assert not [dep for name in ("patch", "augment", "train") for dep in STAGES[name]["params"] if dep == "data"]


def test_no_stage_depends_on_the_section_of_the_gate():
    read = {key.split(".")[0] for stage in STAGES.values() for key in stage.get("params", [])}
    assert read == set(Params.model_fields)
    assert read.isdisjoint(UNTRACKED)


def test_metrics_and_plots_are_outs_of_a_stage():
    every = set().union(*(outs(name) for name in STAGES))
    declared = {*PIPELINE["metrics"]}
    for plot in PIPELINE["plots"]:
        declared |= {plot} if isinstance(plot, str) else set(next(iter(plot.values()))["y"])
    assert declared <= every


@pytest.mark.parametrize(
    ("library", "modules"),
    [
        ("tensorflow", {"src/models/tensorflow_setup.py"}),
        ("mlflow", {"src/tracking/mlflow_setup.py", "src/serving/mlflow_pyfunc.py"}),  # the second runs inside MLflow
        ("segmentation_models", {"src/models/tensorflow_setup.py"}),
    ],
)
def test_library_is_imported_once(library, modules):
    pattern = rf"^\s*(import|from) {library}\b"
    importers = {
        path.as_posix() for path in Path("src").rglob("*.py") if re.search(pattern, path.read_text("utf-8"), re.M)
    }
    assert importers == modules
