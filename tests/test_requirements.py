"""The files of requirements against each other and against what prediction imports."""

import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

FILES = {name: Path("requirements") / f"{name}.txt" for name in ("predict", "dev", "lock")} | {
    "all": Path("requirements.txt")
}
ALLOWED_BESIDE = {"pip", "setuptools"}


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)", FILES[name].read_text(encoding="utf-8"), re.MULTILINE)
    return {canonical(package): version for package, version in found}


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def with_dependencies(packages: set[str]) -> set[str]:
    """The packages with all that they need, extras apart."""
    todo, found = set(packages), set()
    while todo:
        package = todo.pop()
        found.add(package)
        try:
            needed = requires(package) or []
        except PackageNotFoundError:  # of another platform
            continue
        names = {canonical(re.match(r"[A-Za-z0-9_.-]+", line)[0]) for line in needed if "extra ==" not in line}
        todo |= names - found
    return found


@pytest.mark.parametrize("name", ["all", "dev"])
def test_lock_holds_every_pin(name):
    locked = pins("lock")
    assert {package: locked.get(package) for package in pins(name)} == pins(name)


def test_prediction_has_the_versions_of_the_pipeline():
    assert pins("predict").items() <= pins("all").items()


def test_lock_holds_a_hash_for_every_package():
    packages = re.split(r"^(?=[A-Za-z0-9_.-]+==)", FILES["lock"].read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert [package.split("==")[0] for package in packages if "--hash=sha256:" not in package] == []


def test_prediction_runs_on_the_packages_of_its_file(tmp_path):
    """Every other distribution is hidden from the process, as in an environment of requirements/predict.txt."""
    light = with_dependencies(set(pins("predict"))) | ALLOWED_BESIDE
    hidden = sorted(
        module
        for module, owners in packages_distributions().items()
        if not {canonical(owner) for owner in owners} & light
    )
    program = f"""
import sys
hidden = set({hidden!r})
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"hidden: {{name}}", name=name)
sys.meta_path.insert(0, Hide())
from src.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    command = [sys.executable, "-c", program, "predict", "examples", "--out", str(tmp_path), "--no-tta"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "hidden" in done.stderr) == (0, False), done.stderr
    assert len(list(tmp_path.glob("*_vessels.png"))) == len(list(Path("examples").glob("*.jpg")))
