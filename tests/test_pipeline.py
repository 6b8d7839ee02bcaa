"""dvc.yaml against the code: what a stage uses is what it declares."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from src import logged_model, provenance, tracking
from src.params import UNTRACKED, Params

PIPELINE = yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))
STAGES = PIPELINE["stages"]
# How a stage starts and how it reads its parameters: DVC tracks the values themselves.
EXEMPT = {"src/cli.py", "src/params.py", "src/__init__.py"}
DATA_OF_CODE = {  # files that a module reads beside its imports
    "src/datasets.py": {"src/manifests"},
    "src/page.py": {f"src/pages/{name}" for name in ("report.css", "report.html", "report.js", "style.css")},
    "src/logged_model.py": {f"src/{name}" for name in (logged_model.SERVED, *logged_model.COPIED)} - EXEMPT,
}


def imported(path: Path) -> set[Path]:
    """The files of src that a module imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    files = {Path(*name.split(".")).with_suffix(".py") for name in names if name.split(".")[0] in ("src", "stages")}
    return {file for file in files if file.is_file()}


def code_of(script: Path) -> set[str]:
    """The files of code that a stage or module runs, transitively."""
    todo, found = [script], set()
    while todo:
        path = todo.pop()
        if path not in found and path.as_posix() not in EXEMPT:
            found.add(path)
            todo += imported(path)
    code = {path.as_posix() for path in found}
    return code.union(*(DATA_OF_CODE.get(file, set()) for file in code))


def outs(name: str) -> set[str]:
    every = [out for kind in ("outs", "metrics", "plots") for out in STAGES[name].get(kind, [])]
    return {next(iter(out)) if isinstance(out, dict) else out for out in every}


@pytest.mark.parametrize("name", STAGES)
def test_code_deps_are_the_transitive_imports(name):
    declared = {dep for dep in STAGES[name]["deps"] if dep.startswith(("src/", "stages/"))}
    assert declared == code_of(Path(f"stages/{name}.py")) | {"stages/__init__.py"}


def test_stage_draws_and_cuts_alike_on_processors_with_and_without_avx_512():
    """The cause of the difference is switched off before NumPy is there, whoever imports it first."""
    program = "import stages.download, numpy, json; print(json.dumps(numpy.show_config('dicts')['SIMD Extensions']))"
    environment = {key: value for key, value in os.environ.items() if key != "NPY_DISABLE_CPU_FEATURES"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, check=True)
    assert {"X86_V4", "AVX512_ICL", "AVX512_SPR"}.isdisjoint(json.loads(done.stdout).get("found", []))


def test_stage_looks_who_started_it_before_it_imports_anything_slow():
    """Python imports the package of `python -m stages.NAME` first, whatever the stage imports."""
    slow = {"cv2", "mlflow", "numpy", "pandas", "pydantic", "skimage", "tensorflow", "yaml"}
    program = f"import stages, sys; print('src.interruption' in sys.modules, {slow} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True, text=True)
    assert done.stdout == "True set()\n"


def test_logged_model_takes_all_code_that_it_runs():
    copied = {f"src/{name}" for name in logged_model.COPIED}
    assert copied == {"src/__init__.py"} | code_of(Path("src/serving.py"))


@pytest.mark.parametrize("name", STAGES)
def test_params_are_the_sections_that_the_stage_reads(name):
    tree = ast.parse(Path(f"stages/{name}.py").read_text(encoding="utf-8"))
    block = ast.unparse(next(node for node in tree.body if isinstance(node, ast.If)))
    reads = set(re.findall(r"\bparams\.([a-z_]+(?:\.[a-z_]+)*)", block))
    if re.search(r"\bparams\b(?!\.)[,)]", block):  # handed over whole
        reads = set(Params.model_fields)
    assert set(STAGES[name]["params"]) == reads


def test_run_that_is_watched_holds_the_params_of_its_training():
    assert list(tracking.WATCHED) == STAGES["train"]["params"]


@pytest.mark.parametrize("name", STAGES)
def test_paths_of_cmd_are_deps_and_outs(name):
    _, _, module, *paths = STAGES[name]["cmd"].split()
    assert module == f"stages.{name}"
    data = {dep for dep in STAGES[name]["deps"] if dep.startswith(("data/", "metrics/"))}
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
    assert {f"metrics/{table}" for table in provenance.TABLES} <= set(STAGES[name]["deps"])


def test_report_names_versions_and_is_never_restored_from_the_run_cache():
    assert {"metrics/report.md": {"cache": False}} in STAGES["report"]["outs"]
    assert set(STAGES["report"]["params"]) == set(Params.model_fields)


def test_page_shows_photographs_and_is_kept_by_dvc_not_by_git():
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


def test_only_the_backend_imports_tensorflow_first():
    importers = {
        path.name
        for path in Path("src").glob("*.py")
        if re.search(r"^\s*(import|from) tensorflow", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert importers == {"backend.py"}


@pytest.mark.parametrize(
    ("library", "modules"),
    [("mlflow", {"quiet.py", logged_model.SERVED}), ("segmentation_models", {"models.py"})],  # MLflow imports SERVED
)
def test_library_is_imported_once(library, modules):
    pattern = rf"^\s*(import|from) {library}\b"
    importers = {p.name for p in Path("src").glob("*.py") if re.search(pattern, p.read_text(encoding="utf-8"), re.M)}
    assert importers == modules
