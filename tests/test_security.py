"""What the sources may not do: run what a file says, or fetch what nobody has checked."""

import ast
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from src.data import datasets

SOURCES = sorted(
    path
    for folder in ("src", "stages", "benchmarks", "experiments", "robustness", "tools")
    for path in Path(folder).rglob("*.py")
)
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
CALLS = {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "os.system"}
KEYWORDS = {"allow_pickle": True, "shell": True, "safe_mode": False, "verify": False}


def violations(source: str) -> Iterator[str]:
    """What a source does that it may not."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            yield from (f"import {name}" for name in names if name.split(".")[0] in MODULES)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called in CALLS:
                yield f"{called}()"
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in KEYWORDS and value is KEYWORDS[keyword.arg]:
                    yield f"{keyword.arg}={value}"


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_no_source_runs_what_a_file_says(path):
    assert list(violations(path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "np.load(p, allow_pickle=True)",
        "yaml.load(t)",
        "eval(t)",
        "subprocess.run(c, shell=True)",
        "tf.keras.models.load_model(p, safe_mode=False)",
        "requests.get(u, verify=False)",
    ],
)
def test_what_is_forbidden_is_found(source):
    assert len(list(violations(source))) == 1


def test_every_download_is_by_https():
    addresses = [download.url for dataset in datasets.PUBLIC.values() for download in dataset.downloads]
    assert addresses
    assert {urlsplit(address).scheme for address in addresses} == {"https"}


@pytest.mark.parametrize("name", [name for name, dataset in datasets.PUBLIC.items() if dataset.downloads])
def test_every_file_that_is_downloaded_has_a_hash(name):
    listed, unlisted = datasets.manifest(name), datasets.PUBLIC[name].unlisted
    files = {file for record in datasets.PUBLIC[name].records for file in record.files.present()}
    assert files - set(listed) <= unlisted
    assert len(unlisted) < len(files) / 2


def test_no_command_of_the_documentation_serves_beyond_this_machine():
    pages = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
    assert not [page for page in pages if "0.0.0.0" in page.read_text(encoding="utf-8")]
    assert any("--host 127.0.0.1" in page.read_text(encoding="utf-8") for page in pages)
