"""Write the code that each stage runs into its deps in dvc.yaml: python -m tools.sync_dvc [--check].

The code of a stage is its script with all modules of `src` that it imports, directly or not. A package of which a
stage uses every module is listed as a folder. Data deps, comments and order stay. With --check nothing is written;
the exit code is 1 where dvc.yaml is stale.
"""

import argparse
import io
import sys
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from src.common.module_imports import imported_files

PIPELINE = Path("dvc.yaml")
# How a stage starts and reads its parameters: DVC tracks the values themselves.
EXEMPT = {"src/stage_runner.py", "src/params.py"}
# What a module reads beside its imports.
DATA_OF_CODE = {
    "src/data/datasets.py": {"src/data/manifests"},
    "src/reporting/markdown_report.py": {"src/reporting/templates"},
}
# Code that a module copies without importing it: the served model.
COPIED = {"src/tracking/model_packaging.py": ("src/serving/mlflow_pyfunc.py", "src/serving/model_service.py")}
LEAST_FOLDER = 3  # modules of a package that is listed as a folder


def code_of(script: Path) -> set[str]:
    """The files of code that a stage or module runs, transitively, and the data files that belong to them."""
    todo, found = [script], set()
    while todo:
        path = todo.pop()
        if path not in found and path.as_posix() not in EXEMPT:
            found.add(path)
            todo += [*imported_files(path, Path()), *map(Path, COPIED.get(path.as_posix(), ()))]
    code = {path.as_posix() for path in found}
    return code.union(*(DATA_OF_CODE.get(file, set()) for file in code))


def folded(code: set[str]) -> set[str]:
    """The same code, with the folder in place of the modules of a package that are all in it."""
    result = set(code)
    for package in {Path(file).parent for file in code if file.startswith("src/")}:
        modules = {path.as_posix() for path in package.glob("*.py") if path.name != "__init__.py"}
        if len(modules) >= LEAST_FOLDER and modules <= code:
            result = {file for file in result if not file.startswith(f"{package.as_posix()}/")} | {package.as_posix()}
    return result


def synced(text: str) -> str:
    """The text of dvc.yaml with the code deps of every stage as they should be."""
    editor = YAML()
    editor.width = 120
    editor.indent(mapping=2, sequence=4, offset=2)
    pipeline = editor.load(text)
    for name, entry in pipeline["stages"].items():
        stage = entry.get("do", entry)  # where it has `foreach`
        code = folded(code_of(Path(f"stages/{name}.py")) | {"stages/__init__.py"})
        data = [dep for dep in stage["deps"] if not dep.startswith(("src/", "stages/"))]
        deps = CommentedSeq([*data, *sorted(code, key=lambda file: (file.startswith("src/"), file))])
        for place, (comment, *_rest) in stage["deps"].ca.items.items():
            if place < len(data) and comment:  # data deps come first and keep their comments
                deps.yaml_add_eol_comment(comment.value.strip().lstrip("# "), place)
        stage["deps"] = deps
    out = io.StringIO()
    editor.dump(pipeline, out)
    return out.getvalue()


def main() -> int:
    """Write or check; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.sync_dvc", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 where dvc.yaml is stale")
    check = parser.parse_args().check
    before = PIPELINE.read_text(encoding="utf-8")
    after = synced(before)
    if before == after:
        return 0
    if check:
        print("dvc.yaml: deps are not what the stages import; run python -m tools.sync_dvc", file=sys.stderr)
        return 1
    PIPELINE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
