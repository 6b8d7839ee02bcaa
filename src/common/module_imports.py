"""Find the files of the project that a module imports, without importing it."""

import ast
from pathlib import Path

PACKAGES = ("src", "stages")


def imported_files(module: Path, root: Path) -> set[Path]:
    """Return the files below `root` of modules in PACKAGES that the file `module` imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    ours = (name for name in names if name.partition(".")[0] in PACKAGES)
    return {file for name in ours if (file := root.joinpath(*name.split(".")).with_suffix(".py")).is_file()}
